//! `key=value,key=value,flag`: the long form of ports and mounts.

use super::ParseError;

/// The fields of one text, taken out by name; what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Options<'a> {
    what: &'static str,
    text: &'a str,
    accepted: &'static str,
    fields: Vec<(String, Option<&'a str>)>,
}

impl<'a> Options<'a> {
    pub(super) fn read(what: &'static str, text: &'a str, accepted: &'static str) -> Result<Self, ParseError> {
        let mut options = Self { what, text, accepted, fields: Vec::new() };
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            };
            let key = key.trim().to_ascii_lowercase();
            if key.is_empty() {
                return Err(options.refuse("one of its fields has no name"));
            }
            options.fields.push((key, value));
        }
        Ok(options)
    }

    pub(super) fn refuse(&self, wrong: impl Into<String>) -> ParseError {
        ParseError::new(self.what, self.text, wrong, self.accepted)
    }

    fn take_field(&mut self, names: &[&str]) -> Result<Option<(String, Option<&'a str>)>, ParseError> {
        let mut found = None;
        while let Some(place) = self.fields.iter().position(|(key, _)| names.contains(&key.as_str())) {
            if found.is_some() {
                return Err(self.refuse(format!("{} is given twice", names[0])));
            }
            found = Some(self.fields.remove(place));
        }
        Ok(found)
    }

    /// The value of the field with one of these names, which must have one.
    pub(super) fn take(&mut self, names: &[&str]) -> Result<Option<&'a str>, ParseError> {
        match self.take_field(names)? {
            None => Ok(None),
            Some((_, Some(value))) if !value.is_empty() => Ok(Some(value)),
            Some((key, _)) => Err(self.refuse(format!("{key} has no value"))),
        }
    }

    /// A flag: there alone, or with a truth value as Go reads it.
    pub(super) fn take_flag(&mut self, names: &[&str]) -> Result<bool, ParseError> {
        match self.take_field(names)? {
            None => Ok(false),
            Some((_, None)) => Ok(true),
            Some((key, Some(value))) => {
                super::truth(value).map_err(|_| self.refuse(format!("{key} is neither true nor false")))
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), ParseError> {
        match self.fields.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.refuse(format!("{} is not among its fields", super::Quoted(key)))),
        }
    }
}
