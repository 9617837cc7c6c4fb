//! What a server wants of a node: from its flavor, its hints and its zone. Pure.

use baremetal::{Node, Wanted};
use cloud::ServerSpec;

use crate::flavors::Flavor;

/// What `want` with `flavor` asks of a node, for `project`. Classes are spelled as `nodes` spell theirs.
pub fn wanted(want: &ServerSpec, flavor: &Flavor, project: &str, nodes: &[Node]) -> Wanted {
    let mut wanted = Wanted {
        project: Some(project.to_owned()),
        ..Wanted::default()
    };
    for (name, value) in &flavor.extra_specs {
        if let Some(class) = name
            .strip_prefix("resources:CUSTOM_")
            .filter(|_| value != "0")
        {
            wanted.resource_class = Some(spelled(class, nodes));
        } else if let Some(capability) = name.strip_prefix("capabilities:") {
            let value = value.trim_start_matches("s== ").to_owned();
            wanted.capabilities.insert(capability.to_owned(), value);
        } else if let Some(name) = name.strip_prefix("trait:").filter(|_| value == "required") {
            wanted.traits.push(name.to_owned());
        }
    }
    // Whoever names a class says by it how large the node is.
    if wanted.resource_class.is_none() {
        let asked = |number: u64| Some(number).filter(|number| *number > 0);
        wanted.cpus = asked(flavor.vcpus);
        wanted.memory_mb = asked(flavor.ram);
        wanted.local_gb = asked(flavor.disk);
    }
    for (name, value) in &want.scheduler_hints {
        if let Some(capability) = name.strip_prefix("capabilities:") {
            wanted
                .capabilities
                .insert(capability.to_owned(), value.clone());
        }
    }
    // Nova's way to ask for one host: `zone:host:node`.
    let zone = want.availability_zone.as_deref().unwrap_or_default();
    let hosts = zone.split_once(':').map(|(_, hosts)| hosts);
    wanted.node = hosts
        .and_then(|hosts| hosts.split(':').rfind(|part| !part.is_empty()))
        .map(str::to_owned);
    wanted
}

/// Placement writes a class in its own way; the node's own spelling is what nodes are chosen by.
fn spelled(class: &str, nodes: &[Node]) -> String {
    let normal = |text: &str| -> String {
        let letter = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        };
        text.chars().map(letter).collect()
    };
    let classes = nodes
        .iter()
        .filter_map(|node| node.resource_class.as_deref());
    let own = classes.into_iter().find(|own| normal(own) == class);
    own.map_or_else(|| class.to_lowercase(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flavor(specs: &[(&str, &str)]) -> Flavor {
        Flavor {
            id: "1".into(),
            name: "f".into(),
            vcpus: 2,
            ram: 512,
            disk: 0,
            extra_specs: specs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
            description: None,
        }
    }

    fn server() -> ServerSpec {
        serde_json::from_value(serde_json::json!({
            "name": "s", "image": null, "flavor": "f", "key_name": null, "attachments": [], "security_groups": [],
            "user_data": null, "config_drive": true, "metadata": {}, "tags": [],
            "scheduler_hints": {"capabilities:profile": "control", "group": "x"}, "availability_zone": "nova::n7",
            "personality": {}
        }))
        .expect("a server")
    }

    #[test]
    fn flavors_hints_and_zones_ask_for_nodes() {
        let node = Node {
            resource_class: Some("metal.gold-2".into()),
            ..Node::default()
        };
        let specs = [
            ("resources:CUSTOM_METAL_GOLD_2", "1"),
            ("resources:VCPU", "0"),
            ("trait:CUSTOM_T", "required"),
        ];
        let asked = wanted(&server(), &flavor(&specs), "p", &[node]);
        assert_eq!(asked.resource_class.as_deref(), Some("metal.gold-2"));
        assert_eq!((asked.cpus, asked.memory_mb), (None, None));
        assert_eq!(
            asked.capabilities.get("profile").map(String::as_str),
            Some("control")
        );
        assert_eq!(asked.traits, ["CUSTOM_T"]);
        assert_eq!(asked.node.as_deref(), Some("n7"));
        let asked = wanted(&server(), &flavor(&[]), "p", &[]);
        assert_eq!(
            (asked.cpus, asked.memory_mb, asked.local_gb),
            (Some(2), Some(512), None)
        );
    }
}
