//! A service: what a user wants to run, and how far its last change has come.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    container::ContainerSpec,
    endpoint::{EndpointSpec, PortConfig},
    id::ServiceId,
    rollout::{Rollout, UpdateConfig},
    task::{TaskSpec, Template},
    time::Timestamp,
    version::{TemplateVersion, Version},
};

/// More than this of one service on the clusters that Muster is for is a slip of the finger, and every task is a row
/// in each manager's memory.
pub const REPLICAS_MAX: u32 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    Replicated { replicas: u32 },
    Global,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub name: String,
    /// Labels of the service, not of its containers.
    pub labels: BTreeMap<String, String>,
    pub task: TaskSpec,
    pub mode: Mode,
    pub update: UpdateConfig,
    pub rollback: UpdateConfig,
    pub endpoint: EndpointSpec,
}

impl ServiceSpec {
    /// One replica of an image, and every default.
    #[must_use]
    pub fn new(name: impl Into<String>, image: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            labels: BTreeMap::new(),
            task: TaskSpec::new(ContainerSpec::new(image)),
            mode: Mode::Replicated { replicas: 1 },
            update: UpdateConfig::default(),
            rollback: UpdateConfig::default(),
            endpoint: EndpointSpec::default(),
        }
    }

    /// The part whose change makes new tasks.
    #[must_use]
    pub fn template(&self) -> Template {
        Template { spec: self.task.clone(), host_ports: self.endpoint.host_ports().cloned().collect() }
    }

    /// Whether that is its template, without making it.
    #[must_use]
    pub fn is_of(&self, template: &Template) -> bool {
        // Taken apart, so that a field added later is not forgotten here.
        let Template { spec, host_ports } = template;
        *spec == self.task && host_ports.iter().eq(self.endpoint.host_ports())
    }
}

/// The spec before the last change, for `rollback`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviousSpec {
    pub spec: ServiceSpec,
    pub template: Arc<Template>,
    pub template_version: TemplateVersion,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub id: ServiceId,
    pub version: Version,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub spec: ServiceSpec,
    pub template: Arc<Template>,
    pub template_version: TemplateVersion,
    /// Shared by the copies of the service; nobody changes it in place.
    pub previous: Option<Arc<PreviousSpec>>,
    /// As allocated: every published port is set for ingress.
    pub ports: Vec<PortConfig>,
    /// None until the first update.
    pub rollout: Option<Box<Rollout>>,
}
