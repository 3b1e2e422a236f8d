//! What holds for every message: the way to the wire and back changes nothing, and no message, however damaged, does
//! more than be refused.

use proptest::{collection::vec, prelude::*, sample::Index};
use prost::Message;

use super::{ConvertError, any};
use crate::{
    assignment::{Assignment, IngressService, TaskReport},
    node::NodeDescription,
    service::ServiceSpec,
    v1,
};

/// Through the bytes that are really sent.
fn sent<W: Message + Default + for<'a> From<&'a D>, D: TryFrom<W, Error = ConvertError>>(domain: &D) -> D {
    let bytes = W::from(domain).encode_to_vec();
    let wire = W::decode(bytes.as_slice()).expect("what prost wrote it can read");
    D::try_from(wire).expect("what the domain holds can be carried")
}

/// One way to damage bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, u8),
    Cut(Index),
    /// A part of it once more at its end: fields twice, lists longer.
    Repeat(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Set(at, byte)),
        any::<(Index, u8)>().prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Repeat),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Set(at, byte) => *at.get_mut(&mut bytes) = *byte,
            Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Repeat(at) => bytes.extend_from_within(at.index(bytes.len())..),
        }
    }
    bytes
}

/// Whatever these bytes are: no message, a refused one, or one whose domain value travels like any other.
fn survives<W, D>(bytes: &[u8])
where
    W: Message + Default + for<'a> From<&'a D>,
    D: TryFrom<W, Error = ConvertError> + PartialEq + std::fmt::Debug,
{
    let Ok(wire) = W::decode(bytes) else { return };
    match D::try_from(wire) {
        Ok(domain) => assert_eq!(sent::<W, D>(&domain), domain),
        Err(error) => assert!(!error.field.is_empty() && !error.wrong.is_empty(), "{error:?}"),
    }
}

fn all_survive(bytes: &[u8]) {
    survives::<v1::ServiceSpec, ServiceSpec>(bytes);
    survives::<v1::Assignment, Assignment>(bytes);
    survives::<v1::IngressService, IngressService>(bytes);
    survives::<v1::TaskReport, TaskReport>(bytes);
    survives::<v1::NodeDescription, NodeDescription>(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_service_spec_returns(spec in any::service_spec()) {
        prop_assert_eq!(sent::<v1::ServiceSpec, _>(&spec), spec);
    }

    #[test]
    fn an_assignment_returns(assignment in any::assignment()) {
        prop_assert_eq!(sent::<v1::Assignment, _>(&assignment), assignment);
    }

    #[test]
    fn an_ingress_service_returns(service in any::ingress_service()) {
        prop_assert_eq!(sent::<v1::IngressService, _>(&service), service);
    }

    #[test]
    fn node_orders_return(orders in any::node_orders()) {
        prop_assert_eq!(sent::<v1::NodeOrders, _>(&orders), orders);
    }

    #[test]
    fn a_task_report_returns(report in any::task_report()) {
        prop_assert_eq!(sent::<v1::TaskReport, _>(&report), report);
    }

    #[test]
    fn a_node_description_returns(description in any::node_description()) {
        prop_assert_eq!(sent::<v1::NodeDescription, _>(&description), description);
    }

    #[test]
    fn noise_is_survived(bytes in vec(any::<u8>(), 0..256)) {
        all_survive(&bytes);
    }

    #[test]
    fn damage_is_survived(
        assignment in any::assignment(),
        spec in any::service_spec(),
        report in any::task_report(),
        damages in vec(damage(), 1..6),
    ) {
        all_survive(&damaged(v1::Assignment::from(&assignment).encode_to_vec(), &damages));
        all_survive(&damaged(v1::ServiceSpec::from(&spec).encode_to_vec(), &damages));
        all_survive(&damaged(v1::TaskReport::from(&report).encode_to_vec(), &damages));
    }
}
