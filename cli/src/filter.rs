//! `--filter key=value`, as docker has it: values of one key are alternatives, different keys must all hold.

use std::{collections::BTreeMap, str::FromStr};

use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    key: String,
    value: String,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.trim().to_ascii_lowercase(), value: value.trim().to_owned() })
            }
            Some(_) | None => Err(format!("'{text}' is not a filter; write it like name=web")),
        }
    }
}

/// The filters of one command, by key.
#[derive(Debug)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Refuses keys that the command does not know.
    pub fn new(filters: &[Filter], known: &[&str]) -> Result<Self, Error> {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Filter { key, value } in filters {
            if !known.contains(&key.as_str()) {
                return Err(Error::Usage(format!("there is no filter '{key}'; this command has {}", known.join(", "))));
            }
            by_key.entry(key.clone()).or_default().push(value.clone());
        }
        Ok(Self(by_key))
    }

    /// Whether all passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses values of a key that can never match.
    pub fn check(&self, key: &str, is_known: impl Fn(&str) -> bool, known: &str) -> Result<(), Error> {
        match self.0.get(key).into_iter().flatten().find(|value| !is_known(value)) {
            Some(value) => Err(Error::Usage(format!("there is no {key} '{value}'; it is one of {known}"))),
            None => Ok(()),
        }
    }

    /// Whether one of the key's values passes, or there are none.
    pub fn any(&self, key: &str, passes: impl Fn(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.iter().any(|value| passes(value)))
    }

    /// Every value of the key must pass: labels are told apart by their own keys.
    pub fn all(&self, key: &str, passes: impl Fn(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.iter().all(|value| passes(value)))
    }
}

/// `key` or `key=value`.
#[must_use]
pub fn label(labels: &BTreeMap<String, String>, asked: &str) -> bool {
    match asked.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
        None => labels.contains_key(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Result<Filters, Error> {
        let parsed: Vec<Filter> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Filters::new(&parsed, &["name", "label"])
    }

    #[test]
    fn one_key_is_a_choice_and_labels_add_up() {
        let both = filters(&["name=web", "name=db", "label=a", "label=b=1"]).unwrap();
        assert!(both.any("name", |name| name == "db"));
        assert!(!both.any("name", |name| name == "cache"));
        let labels = BTreeMap::from([("a".to_owned(), String::new()), ("b".to_owned(), "1".to_owned())]);
        assert!(both.all("label", |asked| label(&labels, asked)));
        assert!(!both.all("label", |asked| asked == "a"));
        assert!(filters(&[]).unwrap().any("name", |_| false));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = filters(&["size=3"]).unwrap_err();
        assert_eq!(error.to_string(), "there is no filter 'size'; this command has name, label");
        assert!("name".parse::<Filter>().is_err());
    }
}
