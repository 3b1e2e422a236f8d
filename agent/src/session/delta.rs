//! What a manager says of this node's work, as the domain has it.

use muster_proto::{
    assignment::{Assignment, IngressService},
    convert::ConvertError,
    id::{ServiceId, TaskId},
    v1::manager_message,
};

use crate::routes::Extent;

#[derive(Clone, Debug)]
pub(crate) struct Delta {
    /// Of both the tasks and the ingress.
    pub(crate) extent: Extent,
    pub(crate) assign: Vec<Assignment>,
    pub(crate) forget: Vec<TaskId>,
    pub(crate) ingress: Vec<IngressService>,
    pub(crate) ingress_gone: Vec<ServiceId>,
    /// The outages of this node's lease when it was heard; None: the lease was over then, and what a manager said may be
    /// about to be taken back.
    pub(crate) heard_after: Option<u64>,
}

fn id<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, ConvertError> {
    let wrong = || ConvertError { field: field.to_owned(), wrong: "is not an id".to_owned() };
    text.parse().map_err(|_invalid| wrong())
}

impl Delta {
    pub(super) fn hear(wire: manager_message::Assignments, heard_after: Option<u64>) -> Result<Self, ConvertError> {
        Ok(Self {
            extent: if wire.complete { Extent::Complete } else { Extent::Difference },
            assign: wire.assign.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            forget: wire.forget.iter().map(|text| id("forget", text)).collect::<Result<_, _>>()?,
            ingress: wire.ingress.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            ingress_gone: wire.ingress_gone.iter().map(|text| id("ingress_gone", text)).collect::<Result<_, _>>()?,
            heard_after,
        })
    }
}
