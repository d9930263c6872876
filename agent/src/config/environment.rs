//! The environment as a source of configuration: `STARDUST_PROBE_KERNEL_RING_BYTES` is `kernel.ring_bytes`.
//!
//! The names are made from the tree of defaults, so no knob can be forgotten. A `STARDUST_PROBE_` name that is
//! no knob is an error. Invariant: the process's own environment is never read here; it is handed in.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::{Table, Value};

use super::{Config, Secret};
use crate::exit::Failure;

/// What every variable of the probe starts with.
const PREFIX: &str = "STARDUST_PROBE_";
/// The configuration file. Not part of the tree.
pub(super) const CONFIG_FILE: &str = "STARDUST_PROBE_CONFIG";
/// The app's secret. Not part of the tree.
const SECRET: &str = "STARDUST_PROBE_SECRET";
/// The variable behind `stardust.secret_file`, which takes the place of a secret named before it.
const SECRET_FILE: &str = "STARDUST_PROBE_STARDUST_SECRET_FILE";

/// Variables by name. Bytes that are not UTF-8 are replaced.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let text = |raw: OsString| raw.to_string_lossy().into_owned();
        Self { variables: variables.into_iter().map(|(k, v)| (text(k.into()), text(v.into()))).collect() }
    }
}

impl Environment {
    /// The value of a variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Applies Stardust's own names, then the probe's.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), Failure> {
        self.apply_stardust_names(config);
        let names = names();
        for (name, value) in self.variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            if name == CONFIG_FILE || name == SECRET {
                continue;
            }
            let Some((section, key)) = names.get(name) else {
                return Err(Failure::usage(format!("unknown variable {name} in the environment"))
                    .hint("unset it, or look at --print-config for the knobs there are"));
            };
            *config = set(config, section, key, value).map_err(|why| {
                Failure::usage(format!("bad value {value:?} of {name} in the environment"))
                    .because(why)
                    .hint(format!("it sets {section}.{key}"))
            })?;
            if name == SECRET_FILE {
                config.stardust.secret = Secret::default();
            }
        }
        if let Some(secret) = self.get(SECRET) {
            config.stardust.secret = Secret::new(secret);
        }
        Ok(())
    }

    /// `StarServer`, `StarAppId`, `StarSecret` in any case: the convention of Stardust's own clients.
    fn apply_stardust_names(&self, config: &mut Config) {
        for (name, value) in self.variables.iter().filter(|(_, value)| !value.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "starserver" => config.stardust.servers = list(value),
                "starappid" => config.target.app_id.clone_from(value),
                "starsecret" => config.stardust.secret = Secret::new(value),
                _ => {}
            }
        }
    }
}

/// Comma-separated words, blank ones left out.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Every variable there is, with its section and key.
fn names() -> BTreeMap<String, (String, String)> {
    let mut names = BTreeMap::new();
    for (section, keys) in tree(&Config::default()) {
        for (key, _) in keys.as_table().into_iter().flatten() {
            let name = format!("{PREFIX}{}_{}", section.to_uppercase(), key.to_uppercase());
            names.insert(name, (section.clone(), key.clone()));
        }
    }
    names
}

fn tree(config: &Config) -> Table {
    Table::try_from(config).expect("a tree of plain tables is always TOML")
}

/// The configuration with one knob changed; the text is read as the kind of value the knob has.
fn set(config: &Config, section: &str, key: &str, text: &str) -> Result<Config, String> {
    let mut tree = tree(config);
    if let Some(slot) = tree.get_mut(section).and_then(|keys| keys.get_mut(key)) {
        *slot = parse(slot, text)?;
    }
    let mut changed: Config = tree.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    changed.stardust.secret = config.stardust.secret.clone();
    Ok(changed)
}

fn parse(like: &Value, text: &str) -> Result<Value, String> {
    let text = text.trim();
    match like {
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "must be a whole number".into()),
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| "must be a number".into()),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "must be true or false".into()),
        Value::Array(_) => Ok(Value::Array(list(text).into_iter().map(Value::String).collect())),
        Value::String(_) | Value::Datetime(_) | Value::Table(_) => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Way;

    fn applied(variables: &[(&str, &str)]) -> Result<Config, Failure> {
        let mut config = Config::default();
        variables.iter().copied().collect::<Environment>().apply(&mut config).map(|()| config)
    }

    #[test]
    fn every_knob_can_be_set_and_none_shares_a_name() {
        let knobs =
            tree(&Config::default()).values().filter_map(Value::as_table).map(Table::len).sum::<usize>();
        let names = names();
        assert_eq!(names.len(), knobs);
        for (name, (section, key)) in &names {
            let default = tree(&Config::default())[section][key].clone();
            let text = match &default {
                Value::String(text) => text.clone(),
                Value::Array(_) => "a,b".to_owned(),
                other => other.to_string(),
            };
            let config = applied(&[(name, &text)]).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            match default {
                Value::Array(_) => {
                    let expected = Value::Array(vec!["a".into(), "b".into()]);
                    assert_eq!(tree(&config)[section][key], expected, "{name}");
                }
                default => assert_eq!(tree(&config)[section][key], default, "{name}"),
            }
        }
    }

    #[test]
    fn values_take_the_kind_of_the_knob() {
        let config = applied(&[
            ("STARDUST_PROBE_KERNEL_RING_BYTES", "65536"),
            ("STARDUST_PROBE_KERNEL_WAY", "tp_btf"),
            ("STARDUST_PROBE_SAMPLING_RATE", "0"),
            ("STARDUST_PROBE_STARDUST_SERVERS", "http://a:6600, http://b:6600,"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(config.kernel.ring_bytes, 65_536);
        assert_eq!(config.kernel.way, Way::TpBtf);
        assert!(config.sampling.rate.abs() < f64::EPSILON);
        assert_eq!(config.stardust.servers, ["http://a:6600", "http://b:6600"]);
    }

    #[test]
    fn a_bad_variable_is_named() {
        let cases = [
            ("STARDUST_PROBE_RING", "1", "unknown variable STARDUST_PROBE_RING"),
            ("STARDUST_PROBE_KERNEL_RING_BYTES", "8M", "must be a whole number; it sets kernel.ring_bytes"),
            ("STARDUST_PROBE_KERNEL_RING_BYTES", "-1", "STARDUST_PROBE_KERNEL_RING_BYTES"),
            ("STARDUST_PROBE_KERNEL_WAY", "kprobe", "unknown variant `kprobe`"),
            ("STARDUST_PROBE_SAMPLING_RATE", "lots", "must be a number"),
        ];
        for (name, value, expected) in cases {
            let failure = applied(&[(name, value)]).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.to_string().contains(expected), "{failure}");
        }
    }

    #[test]
    fn the_probes_own_names_win_over_stardusts() {
        let config = applied(&[
            ("STARSERVER", "http://old:6600"),
            ("StarAppId", "old"),
            ("starsecret", "old"),
            ("STARDUST_PROBE_STARDUST_SERVERS", "http://new:6600"),
            ("STARDUST_PROBE_SECRET", "new"),
        ])
        .unwrap();
        assert_eq!(config.stardust.servers, ["http://new:6600"]);
        assert_eq!(config.target.app_id, "old");
        assert_eq!(config.stardust.secret.expose(), "new");
    }

    #[test]
    fn a_secret_file_takes_the_place_of_stardusts_secret_but_not_of_the_probes() {
        let file = (SECRET_FILE, "/run/secret");
        assert_eq!(applied(&[("StarSecret", "a"), file]).unwrap().stardust.secret.expose(), "");
        assert_eq!(applied(&[(SECRET, "b"), file]).unwrap().stardust.secret.expose(), "b");
    }
}
