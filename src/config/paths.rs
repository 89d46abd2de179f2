//! The process environment as one value, and the folders and the file that follow from it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::model::{Code, Error, Result};

/// The folder of our own in each of the user's folders.
const APP: &str = "sparklease";

/// What a process gets from outside: variables, the user's folders, the working folder. Taken once, handed down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    vars: BTreeMap<OsString, OsString>,
    user: Option<UserFolders>,
    working: PathBuf,
}

#[derive(Clone, Debug)]
struct UserFolders {
    home: PathBuf,
    config: PathBuf,
    data: PathBuf,
    cache: PathBuf,
}

impl Environment {
    /// This process's. The only place that reads it.
    pub(crate) fn of_process() -> Self {
        Self {
            vars: std::env::vars_os().collect(),
            user: etcetera::choose_base_strategy()
                .ok()
                .map(|folders| UserFolders {
                    home: folders.home_dir().to_owned(),
                    config: folders.config_dir(),
                    data: folders.data_dir(),
                    cache: folders.cache_dir(),
                }),
            working: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// One for a test: these variables, a home with the usual folders in it, which is also the working folder.
    #[cfg(test)]
    pub(crate) fn fake<const N: usize>(home: &Path, vars: [(&str, &str); N]) -> Self {
        Self {
            vars: vars
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            user: Some(UserFolders {
                home: home.to_owned(),
                config: home.join(".config"),
                data: home.join(".local/share"),
                cache: home.join(".cache"),
            }),
            working: home.to_owned(),
        }
    }

    /// A variable's value; an empty one counts as not set.
    pub(crate) fn var(&self, name: &str) -> Option<&OsStr> {
        self.vars
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// Every variable, in the order of the names.
    pub(crate) fn vars(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.vars
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The same with further variables.
    pub(crate) fn with(&self, more: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut all = self.clone();
        all.vars.extend(more);
        all
    }

    /// A variable that names a file or folder; a relative one is relative to the working folder.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.var(name).map(|value| self.working.join(value))
    }

    /// The working folder.
    pub(crate) fn working_folder(&self) -> &Path {
        &self.working
    }

    /// The user's home.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.user.as_ref().map(|user| user.home.as_path())
    }

    /// The user's folder of configurations: `~/.config`.
    pub(crate) fn user_config(&self) -> Option<&Path> {
        self.user.as_ref().map(|user| user.config.as_path())
    }
}

/// Where we keep things. Nothing is created by naming it: see [`create_private_folder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The configuration file; it need not exist unless someone named it.
    pub config: PathBuf,
    /// Who named it: a flag or a variable. Then it must exist.
    pub config_named_by: Option<&'static str>,
    /// Tables and kept results.
    pub data: PathBuf,
    /// The engine.
    pub cache: PathBuf,
}

impl Paths {
    /// The paths of this environment; `config` is the flag's.
    ///
    /// # Errors
    /// `configuration_invalid` where no home is known and a variable does not stand in for it.
    pub(crate) fn of(environment: &Environment, config: Option<&Path>) -> Result<Self> {
        let user = |part: fn(&UserFolders) -> &PathBuf, variable: &str| {
            environment
                .user
                .as_ref()
                .map(|user| part(user).join(APP))
                .ok_or_else(|| {
                    Error::new(
                        Code::ConfigurationInvalid,
                        "the user has no home folder, so there is no place for sparklease's files",
                    )
                    .hint(format!("Set HOME, or set {variable} to a path."))
                })
        };
        let (config, config_named_by) = if let Some(path) = config {
            (environment.working.join(path), Some("--config"))
        } else if let Some(path) = environment.path("SPARKLEASE_CONFIG") {
            (path, Some("SPARKLEASE_CONFIG"))
        } else {
            let folder = user(|user| &user.config, "SPARKLEASE_CONFIG")?;
            (folder.join("config.toml"), None)
        };
        let data = match environment.path("SPARKLEASE_DATA_DIR") {
            Some(path) => path,
            None => user(|user| &user.data, "SPARKLEASE_DATA_DIR")?,
        };
        let cache = match environment.path("SPARKLEASE_CACHE_DIR") {
            Some(path) => path,
            None => user(|user| &user.cache, "SPARKLEASE_CACHE_DIR")?,
        };
        Ok(Self {
            config,
            config_named_by,
            data,
            cache,
        })
    }
}

/// Makes a folder of ours, with its parents, that only the user may enter. One that is there stays as it is.
///
/// # Errors
/// `configuration_invalid` with the path and what the system said.
pub(crate) fn create_private_folder(path: &Path) -> Result<()> {
    crate::sys::files::create_private_folder(path).map_err(|error| {
        Error::new(
            Code::ConfigurationInvalid,
            format!("cannot create the folder {}: {error}", path.display()),
        )
        .hint("Make it writable, or choose other folders by SPARKLEASE_DATA_DIR and SPARKLEASE_CACHE_DIR.")
        .source_error(error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn paths_follow_the_users_folders() {
        let home = Path::new("/home/someone");
        let paths = Paths::of(&Environment::fake(home, []), None).unwrap();
        assert_eq!(
            paths,
            Paths {
                config: home.join(".config/sparklease/config.toml"),
                config_named_by: None,
                data: home.join(".local/share/sparklease"),
                cache: home.join(".cache/sparklease"),
            }
        );
    }

    #[test]
    fn a_flag_beats_a_variable_and_relative_paths_start_at_the_working_folder() {
        let home = Path::new("/home/someone");
        let environment = Environment::fake(
            home,
            [
                ("SPARKLEASE_CONFIG", "/etc/a.toml"),
                ("SPARKLEASE_DATA_DIR", "data"),
                ("SPARKLEASE_CACHE_DIR", ""),
            ],
        );
        let paths = Paths::of(&environment, None).unwrap();
        assert_eq!(paths.config, Path::new("/etc/a.toml"));
        assert_eq!(paths.config_named_by, Some("SPARKLEASE_CONFIG"));
        assert_eq!(paths.data, home.join("data"));
        assert_eq!(paths.cache, home.join(".cache/sparklease"));
        let paths = Paths::of(&environment, Some(Path::new("b.toml"))).unwrap();
        assert_eq!(paths.config, home.join("b.toml"));
        assert_eq!(paths.config_named_by, Some("--config"));
    }

    #[test]
    fn without_a_home_the_variable_to_set_is_named() {
        let error = Paths::of(&Environment::default(), None).unwrap_err();
        assert_eq!(error.code(), Code::ConfigurationInvalid);
        assert_eq!(
            error.hint_text(),
            "Set HOME, or set SPARKLEASE_CONFIG to a path."
        );
    }

    #[test]
    fn a_created_folder_is_the_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        create_private_folder(&path).unwrap();
        create_private_folder(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = create_private_folder(&folder.path().join("file/x")).unwrap_err();
        assert_eq!(error.code(), Code::ConfigurationInvalid);
    }
}
