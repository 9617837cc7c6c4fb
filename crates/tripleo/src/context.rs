//! What every command needs: where files lie, how to print, and the seed when it is asked for.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use openstack_client::Client;
use tokio::sync::OnceCell;

use crate::output::Output;

/// Shared by all commands; made once in `main`.
#[derive(Debug)]
pub struct Context {
    /// The state directory.
    pub state: PathBuf,
    /// Where elements, images and templates lie.
    pub root: PathBuf,
    /// Where results and messages go.
    pub output: Output,
    /// The clouds file to use and the entry in it.
    pub clouds: CloudChoice,
    client: OnceCell<Client>,
}

/// Which cloud commands talk to.
#[derive(Debug, Clone)]
pub struct CloudChoice {
    /// The file, as `OS_CLIENT_CONFIG_FILE`; the seed's own where none is given.
    pub file: PathBuf,
    /// The entry, as `OS_CLOUD`.
    pub name: String,
}

impl Context {
    /// Puts together what `main` found out.
    pub fn new(state: PathBuf, root: PathBuf, clouds: CloudChoice) -> Self {
        Self {
            state,
            root,
            output: Output::new(),
            clouds,
            client: OnceCell::new(),
        }
    }

    /// The client of the seed, logged in at its first use.
    pub async fn cloud(&self) -> anyhow::Result<&Client> {
        self.client
            .get_or_try_init(|| async {
                Client::from_file(&self.clouds.file, &self.clouds.name)
                    .await
                    .with_context(|| {
                        format!(
                            "cannot use cloud `{}` of {}; is there a seed? start one: ./devtest",
                            self.clouds.name,
                            self.clouds.file.display()
                        )
                    })
            })
            .await
    }

    /// A folder below the state directory, made if it is not there.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.state.join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

/// The checkout that holds elements, images and templates: found from where this program lies.
pub fn root_of(program: &Path) -> Option<PathBuf> {
    program
        .ancestors()
        .find(|folder| folder.join("templates/hello.yaml").is_file())
        .map(Path::to_owned)
}
