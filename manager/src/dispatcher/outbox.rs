//! What a session has to say and has not said. Where the latest message says it all there is one place for it, so that
//! a slow connection makes messages newer and not more. Pure.

use std::collections::VecDeque;

use muster_proto::{
    node,
    v1::{
        self, NodeOrders,
        manager_message::{Assignments, HeartbeatAck, Message, ReportsAck, Welcome},
    },
};

use super::diff::Delta;

/// Requests about logs that wait to be sent.
const LOG_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    welcome: Option<Welcome>,
    heartbeat_ack: Option<u64>,
    /// Each is heard of by itself; as many as the session takes unsettled messages.
    reports_acks: VecDeque<u64>,
    /// The latest says it all.
    orders: Option<NodeOrders>,
    delta: Option<Delta>,
    log: VecDeque<Message>,
}

impl Outbox {
    pub(super) fn new(welcome: Welcome) -> Self {
        Self { welcome: Some(welcome), ..Self::default() }
    }

    /// The latest says it all.
    pub(super) fn ack_heartbeat(&mut self, sequence: u64) {
        self.heartbeat_ack = Some(sequence);
    }

    pub(super) fn ack_reports(&mut self, sequence: u64) {
        self.reports_acks.push_back(sequence);
    }

    pub(super) fn reports_acks(&self) -> usize {
        self.reports_acks.len()
    }

    pub(super) fn put_orders(&mut self, orders: &node::NodeOrders) {
        self.orders = Some(orders.into());
    }

    pub(super) fn put_delta(&mut self, delta: Delta) {
        debug_assert!(self.may_take_delta(), "the one before is not sent");
        self.delta = Some(delta);
    }

    /// The next difference is made when the one before is on its way: then it covers all that happened meanwhile.
    pub(super) fn may_take_delta(&self) -> bool {
        self.delta.is_none()
    }

    /// Beyond the limit only replies to the agent's own messages come, and those it can stop.
    pub(super) fn put_log(&mut self, message: Message) {
        self.log.push_back(message);
    }

    pub(super) fn may_take_log(&self) -> bool {
        self.log.len() < LOG_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.welcome.is_none()
            && self.heartbeat_ack.is_none()
            && self.reports_acks.is_empty()
            && self.orders.is_none()
            && self.delta.is_none()
            && self.log.is_empty()
    }

    /// The welcome opens the session; assignments come before log requests, which may be about what they bring.
    pub(super) fn next(&mut self) -> Option<v1::ManagerMessage> {
        let message = (self.welcome.take().map(Message::Welcome))
            .or_else(|| self.heartbeat_ack.take().map(|sequence| Message::HeartbeatAck(HeartbeatAck { sequence })))
            .or_else(|| self.reports_acks.pop_front().map(|sequence| Message::ReportsAck(ReportsAck { sequence })))
            .or_else(|| self.orders.take().map(Message::Orders))
            .or_else(|| self.delta.take().map(|delta| Message::Assignments(on_the_wire(&delta))))
            .or_else(|| self.log.pop_front())?;
        Some(v1::ManagerMessage { message: Some(message) })
    }
}

fn on_the_wire(delta: &Delta) -> Assignments {
    Assignments {
        complete: delta.complete,
        assign: delta.assign.iter().map(Into::into).collect(),
        forget: delta.forget.iter().map(ToString::to_string).collect(),
        ingress: delta.ingress.iter().map(Into::into).collect(),
        ingress_gone: delta.ingress_gone.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::v1::manager_message::CloseLog;

    use super::*;

    fn drain(outbox: &mut Outbox) -> Vec<Message> {
        std::iter::from_fn(|| outbox.next()).map(|message| message.message.expect("never empty")).collect()
    }

    #[test]
    fn the_welcome_is_first_and_log_requests_are_last() {
        let mut outbox = Outbox::new(Welcome::default());
        outbox.put_log(Message::CloseLog(CloseLog { stream: 1 }));
        outbox.put_delta(Delta::default());
        outbox.ack_heartbeat(1);
        let sent = drain(&mut outbox);
        assert!(matches!(sent.first(), Some(Message::Welcome(_))));
        assert_eq!(sent.last(), Some(&Message::CloseLog(CloseLog { stream: 1 })));
        assert_eq!(sent.len(), 4);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_slow_connection_gets_the_latest_heartbeat_and_every_report_acknowledged() {
        let mut outbox = Outbox::default();
        for sequence in 1..=3 {
            outbox.ack_heartbeat(sequence);
            outbox.ack_reports(sequence);
        }
        let reports = (1..=3).map(|sequence| Message::ReportsAck(ReportsAck { sequence }));
        let expected: Vec<_> =
            std::iter::once(Message::HeartbeatAck(HeartbeatAck { sequence: 3 })).chain(reports).collect();
        assert_eq!(drain(&mut outbox), expected);
    }
}
