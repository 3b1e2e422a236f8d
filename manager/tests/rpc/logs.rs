//! Logs from a node to a user.

use muster_proto::v1::{
    self, LogEntry,
    agent_message::{LogChunk, Message as Said},
    manager_message::{Message as Heard, OpenLog},
};

use crate::{
    agent::Agent,
    bench::{Bench, replicated, soon},
};

/// With [`LINE_BYTES`] more than all buffers on the way hold.
const LINES: u32 = 400;
const LINE_BYTES: usize = 32 << 10;

fn wanted(follow: bool) -> v1::ServiceLogsRequest {
    v1::ServiceLogsRequest { service_id: "web".to_owned(), follow, tail: Some(7), ..v1::ServiceLogsRequest::default() }
}

async fn running(bench: &mut Bench, replicas: u32) -> Agent {
    let mut agent = Agent::connect(bench).await;
    bench.create(&replicated("web", "app:1", replicas)).await.expect("created");
    agent.obey_until("running", |agent| agent.assigned.len() == replicas as usize).await;
    agent
}

async fn opened(agent: &mut Agent) -> OpenLog {
    agent.hear_until("a log request", |agent| !agent.log_requests.is_empty()).await;
    match agent.log_requests.remove(0) {
        Heard::OpenLog(open) => open,
        other => panic!("{other:?}"),
    }
}

fn text(number: u32) -> Vec<u8> {
    format!("{number:>LINE_BYTES$}\n").into_bytes()
}

fn chunk(stream: u64, number: u32) -> LogChunk {
    let line = LogEntry { stderr: false, text: text(number), timestamp: "T".to_owned() };
    LogChunk { stream, lines: vec![line], end: false, error: None }
}

fn end(stream: u64, error: Option<&str>) -> LogChunk {
    LogChunk { stream, lines: Vec::new(), end: true, error: error.map(str::to_owned) }
}

/// Sends chunks while there is credit, and waits for more where there is none.
async fn send(agent: &mut Agent, stream: u64, credit: &mut u32, numbers: std::ops::Range<u32>) {
    for number in numbers {
        while *credit == 0 {
            agent.hear_until("credit", |agent| !agent.log_requests.is_empty()).await;
            match agent.log_requests.remove(0) {
                Heard::LogCredit(more) => *credit += more.chunks,
                other => panic!("{other:?}"),
            }
        }
        *credit -= 1;
        agent.say(Said::Log(chunk(stream, number))).await;
    }
}

#[tokio::test]
async fn a_slow_reader_loses_no_line_and_delays_no_heartbeat() {
    let mut bench = Bench::start().await;
    let mut agent = running(&mut bench, 1).await;
    let mut lines = soon("logs", bench.control.service_logs(wanted(false))).await.expect("opened").into_inner();
    let OpenLog { stream, tail, follow, mut credit, .. } = opened(&mut agent).await;
    assert_eq!((tail, follow), (Some(7), false));

    // All that may be sent before anyone reads; the session listens all the same.
    let ahead = credit;
    send(&mut agent, stream, &mut credit, 0..ahead).await;
    agent.heartbeat(1, None).await;
    agent.hear_until("an answer", |agent| agent.heartbeats_acked == 1).await;

    let reader = async {
        for number in 0..LINES {
            let line = soon("a line", lines.message()).await.expect("no error").expect("a line");
            assert_eq!((line.text, line.notice), (text(number), false));
            assert_eq!(line.timestamp, "", "not asked for");
        }
        assert_eq!(soon("the end", lines.message()).await.expect("no error"), None);
    };
    let sender = async {
        send(&mut agent, stream, &mut credit, ahead..LINES).await;
        agent.say(Said::Log(end(stream, None))).await;
    };
    tokio::join!(reader, sender);
    bench.stop().await;
}

#[tokio::test]
async fn logs_that_nobody_reads_any_more_are_closed_at_the_agent() {
    let mut bench = Bench::start().await;
    let mut agent = running(&mut bench, 1).await;
    let lines = soon("logs", bench.control.service_logs(wanted(true))).await.expect("opened").into_inner();
    let open = opened(&mut agent).await;
    assert!(open.follow);
    drop(lines);
    agent.hear_until("the close", |agent| !agent.log_requests.is_empty()).await;
    let Some(Heard::CloseLog(close)) = agent.log_requests.pop() else { panic!("a close") };
    assert_eq!(close.stream, open.stream);
    bench.stop().await;
}

#[tokio::test]
async fn following_takes_in_tasks_that_start_later() {
    let mut bench = Bench::start().await;
    let mut agent = running(&mut bench, 1).await;
    let mut lines = soon("logs", bench.control.service_logs(wanted(true))).await.expect("opened").into_inner();
    let first = opened(&mut agent).await;
    bench.update(&replicated("web", "app:1", 2), false).await.expect("scaled");
    agent.obey_until("a second task", |agent| agent.assigned.len() == 2).await;
    let second = opened(&mut agent).await;
    assert_ne!(first.task_id, second.task_id);
    agent.say(Said::Log(chunk(second.stream, 1))).await;
    let line = soon("a line", lines.message()).await.expect("no error").expect("a line");
    assert_eq!((line.task_id, line.task_name), (second.task_id, "web.2".to_owned()));
    bench.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let mut bench = Bench::start().await;
    let mut agent = running(&mut bench, 1).await;
    let mut lines = soon("logs", bench.control.service_logs(wanted(false))).await.expect("opened").into_inner();
    let open = opened(&mut agent).await;
    agent.say(Said::Log(end(open.stream, Some("no such container")))).await;
    let notice = soon("a notice", lines.message()).await.expect("no error").expect("a notice");
    let text = String::from_utf8(notice.text).expect("text");
    assert_eq!((text.as_str(), notice.notice), ("web.1: the log cannot be read: no such container\n", true));
    assert_eq!(soon("the end", lines.message()).await.expect("no error"), None);

    drop(agent);
    let notice = soon("a node without a session", async {
        loop {
            let mut lines = bench.control.service_logs(wanted(false)).await.expect("opened").into_inner();
            // Until the manager sees that the connection is gone, it opens the log there and sees it break off.
            let notice = lines.message().await.expect("no error").expect("a notice");
            assert!(notice.notice);
            let text = String::from_utf8(notice.text).expect("text");
            if text.contains("no session") {
                return text;
            }
        }
    });
    assert!(notice.await.starts_with("web.1: "));
    bench.stop().await;
}
