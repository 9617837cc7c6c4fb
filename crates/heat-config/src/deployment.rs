//! One deployment as the metadata describes it.

use metadata::Value;

/// Why a deployment cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has no id, or one that cannot be a file name.
    #[error("deployment `{name}` has no usable id")]
    Id {
        /// Its name.
        name: String,
    },
    /// A component has no configuration for the action.
    #[error("component `{name}` has nothing for action `{action}`")]
    Component {
        /// Its name.
        name: String,
        /// The action.
        action: String,
    },
}

/// What carries a deployment out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// The refresh itself: its configuration is metadata for os-apply-config.
    Refresh,
    /// The hook of its group.
    Hook,
    /// Something else on the node.
    Other,
}

/// One deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Id of its configuration; a changed deployment has another one.
    pub id: String,
    /// Its name, for messages.
    pub name: String,
    /// The tool that carries it out.
    pub group: String,
    /// As it stands in the metadata, the tool's part of a component put in.
    pub document: Value,
}

impl Deployment {
    /// Reads a deployment.
    pub fn read(document: &Value) -> Result<Deployment, Malformed> {
        let text = |key: &str| {
            document
                .get(key)
                .and_then(Value::as_text)
                .unwrap_or_default()
                .to_owned()
        };
        let name = text("name");
        let id = text("id");
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if id.is_empty() || id.starts_with('.') || !id.chars().all(usable) {
            return Err(Malformed::Id { name });
        }
        let mut deployment = Deployment {
            id,
            name,
            group: text("group"),
            document: document.clone(),
        };
        if deployment.group == "component" {
            deployment.choose_tool()?;
        }
        Ok(deployment)
    }

    /// A component holds one configuration per action; the action says which.
    fn choose_tool(&mut self) -> Result<(), Malformed> {
        let action = self.input("deploy_action").unwrap_or_default();
        let configs = self
            .document
            .get("config")
            .and_then(|config| config.get("configs")?.as_list());
        let fits = |config: &&Value| {
            let actions = config
                .get("actions")
                .and_then(Value::as_list)
                .unwrap_or_default();
            actions.iter().any(|each| each.as_text() == Some(&action))
        };
        let Some(config) = configs.unwrap_or_default().iter().find(fits).cloned() else {
            return Err(Malformed::Component {
                name: self.name.clone(),
                action,
            });
        };
        let tool = config.get("tool").cloned().unwrap_or(Value::Null);
        self.group = tool.as_text().unwrap_or_default().to_owned();
        if let Value::Map(document) = &mut self.document {
            document.insert("group".to_owned(), tool);
            document.insert(
                "config".to_owned(),
                config.get("config").cloned().unwrap_or(Value::Null),
            );
        }
        Ok(())
    }

    /// What carries it out.
    pub fn road(&self) -> Road {
        match self.group.as_str() {
            "" | "Heat::Ungrouped" | "os-apply-config" => Road::Refresh,
            group if group.starts_with("Heat::") => Road::Other,
            _ => Road::Hook,
        }
    }

    /// Names and values of its inputs.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &Value)> {
        let inputs = self
            .document
            .get("inputs")
            .and_then(Value::as_list)
            .unwrap_or_default();
        inputs.iter().filter_map(|input| {
            let value = input.get("value").unwrap_or(&Value::Null);
            Some((input.get("name")?.as_text()?, value))
        })
    }

    /// The text of an input that says something.
    pub fn input(&self, name: &str) -> Option<String> {
        let (_, value) = self.inputs().find(|(each, _)| *each == name)?;
        Some(value.to_python()).filter(|text| value.is_truthy() && !text.is_empty())
    }

    /// Names of its outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        let outputs = self
            .document
            .get("outputs")
            .and_then(Value::as_list)
            .unwrap_or_default();
        outputs
            .iter()
            .filter_map(|output| output.get("name")?.as_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Deployment, Malformed> {
        Deployment::read(&metadata::parse(text).unwrap())
    }

    #[test]
    fn roads() {
        for (group, road) in [
            (r#""group": "os-apply-config","#, Road::Refresh),
            (r#""group": null,"#, Road::Refresh),
            ("", Road::Refresh),
            (r#""group": "script","#, Road::Hook),
            (r#""group": "Heat::Cfninit","#, Road::Other),
        ] {
            assert_eq!(
                read(&format!(r#"{{{group} "id": "a"}}"#)).unwrap().road(),
                road,
                "{group}"
            );
        }
    }

    #[test]
    fn ids_are_file_names() {
        for id in ["", "../x", ".hidden", "a/b", "a b"] {
            assert!(
                read(&format!(r#"{{"id": "{id}", "name": "n"}}"#)).is_err(),
                "{id}"
            );
        }
    }

    #[test]
    fn a_component_gives_the_tool_for_the_action() {
        let text = |action: &str| {
            format!(
                r#"{{"id": "a", "group": "component", "inputs": [{{"name": "deploy_action", "value": "{action}"}}],
                    "config": {{"configs": [{{"actions": ["CREATE", "UPDATE"], "tool": "script", "config": "run"}}]}}}}"#
            )
        };
        let component = read(&text("UPDATE")).unwrap();
        assert_eq!(component.group, "script");
        assert_eq!(
            component.document.get("config").unwrap().as_text(),
            Some("run")
        );
        assert!(read(&text("DELETE")).is_err());
    }
}
