//! What one write does to one service: the specification that histories are judged by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The environment of a service that exists.
pub(crate) type Env = BTreeMap<String, String>;

/// None: there is no such service.
pub(crate) type Service = Option<Env>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Write {
    Create,
    SetEnv { key: String, value: String },
    Remove,
}

/// Why a write changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    Exists,
    Missing,
    /// Says nothing about whether the service is there: another change came first, nobody listens.
    Other,
}

impl Write {
    /// What becomes of the service, or why nothing does.
    pub(crate) fn on(&self, service: &Service) -> Result<Service, Refusal> {
        match (self, service) {
            (Write::Create, None) => Ok(Some(Env::new())),
            (Write::Create, Some(_)) => Err(Refusal::Exists),
            (Write::SetEnv { key, value }, Some(env)) => {
                let mut env = env.clone();
                env.insert(key.clone(), value.clone());
                Ok(Some(env))
            }
            (Write::Remove, Some(_)) => Ok(None),
            (Write::SetEnv { .. } | Write::Remove, None) => Err(Refusal::Missing),
        }
    }
}
