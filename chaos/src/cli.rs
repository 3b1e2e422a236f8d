//! The command line of the `muster` under test, and what its answers mean to a client that must not assume.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::{
    history::Progress,
    model::{Env, Refusal, Write},
};

/// A command that takes longer is given up, and its outcome is unknown. Longer than the command's own patience.
const ANSWER_WITHIN: Duration = Duration::from_secs(150);
/// The command line could not be understood: a fault of this program, not of the cluster.
const EXIT_USAGE: i32 = 2;
/// Services named in one `inspect`, so that no command line grows without limit.
const INSPECTED_AT_ONCE: usize = 50;

#[derive(Clone, Debug)]
pub(crate) struct Muster {
    pub binary: PathBuf,
    pub socket: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done(String),
    Refused(Refusal, String),
    Unknown(String),
}

/// A line of `service ls`.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub name: String,
    /// Running and wanted, as `1/1`.
    pub replicas: String,
}

impl Muster {
    pub(crate) async fn write(&self, service: &str, write: &Write) -> anyhow::Result<Answer> {
        match write {
            // Its tasks fail whenever the daemon dies, which must neither undo an update nor slow down what follows.
            Write::Create => {
                let flags =
                    ["--detach", "--replicas", "1", "--restart-delay", "100ms", "--update-failure-action", "continue"];
                let create = ["service", "create", "--name", service];
                self.run(&[&create[..], &flags[..], &["sim:1"]].concat()).await
            }
            Write::SetEnv { key, value } => {
                let pair = format!("{key}={value}");
                self.run(&["service", "update", "--detach", "--env-add", &pair, service]).await
            }
            Write::Remove => self.run(&["service", "rm", service]).await,
        }
    }

    /// Of this manager's copy of the state, without asking another.
    pub(crate) async fn copy(&self) -> anyhow::Result<Progress> {
        let shown = self.ask(&["info", "--state-digest", "--format", "json"]).await?;
        let object = objects(&shown)?.pop().context("`info` shows nothing")?;
        let applied = object.pointer("/State/AppliedIndex").and_then(Value::as_u64);
        let applied = applied.with_context(|| format!("no applied index in {object}"))?;
        Ok(Progress { applied, digest: text(&object, "/State/Digest")? })
    }

    pub(crate) async fn list(&self) -> anyhow::Result<Vec<Listed>> {
        let rows = objects(&self.ask(&["service", "ls", "--format", "json"]).await?)?;
        rows.iter().map(|row| Ok(Listed { name: text(row, "/Name")?, replicas: text(row, "/Replicas")? })).collect()
    }

    /// Every service there is, with its environment.
    pub(crate) async fn services(&self) -> anyhow::Result<BTreeMap<String, Env>> {
        let names: Vec<String> = self.list().await?.into_iter().map(|listed| listed.name).collect();
        let mut services = BTreeMap::new();
        for names in names.chunks(INSPECTED_AT_ONCE) {
            let inspect = ["service", "inspect", "--format", "json"].into_iter();
            let output = self.ask(&inspect.chain(names.iter().map(String::as_str)).collect::<Vec<_>>()).await?;
            for service in objects(&output)? {
                services.insert(text(&service, "/Spec/Name")?, env(&service)?);
            }
        }
        ensure!(
            names.len() == services.len(),
            "`service ls` names {} services, inspect {}",
            names.len(),
            services.len()
        );
        Ok(services)
    }

    /// A question, which must be answered.
    pub(crate) async fn ask(&self, args: &[&str]) -> anyhow::Result<String> {
        match self.run(args).await? {
            Answer::Done(output) => Ok(output),
            Answer::Refused(_, text) | Answer::Unknown(text) => bail!("`muster {}` failed: {text}", args.join(" ")),
        }
    }

    pub(crate) async fn run(&self, args: &[&str]) -> anyhow::Result<Answer> {
        let mut command = Command::new(&self.binary);
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).args(args);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let Ok(output) = timeout(ANSWER_WITHIN, command.output()).await else {
            return Ok(Answer::Unknown(format!("no answer within {ANSWER_WITHIN:?}")));
        };
        let output = output.with_context(|| format!("cannot run {}", self.binary.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(Answer::Done(String::from_utf8(output.stdout).context("the output is not UTF-8")?)),
            Some(EXIT_USAGE) => bail!("`muster {}` is not understood: {errors}", args.join(" ")),
            Some(_) | None => Ok(failure(errors)),
        }
    }
}

/// Only what surely changed nothing counts as refused.
fn failure(text: String) -> Answer {
    let refusals = [
        ("exists already", Refusal::Exists),
        ("no service ", Refusal::Missing),
        ("no such service", Refusal::Missing),
        ("cannot reach the muster daemon", Refusal::Other),
        ("has changed since it was read", Refusal::Other),
    ];
    match refusals.into_iter().find(|(words, _)| text.contains(words)) {
        Some((_, refusal)) => Answer::Refused(refusal, text),
        None => Answer::Unknown(text),
    }
}

/// One object or list of objects after the other, as the commands print them.
fn objects(output: &str) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for value in serde_json::Deserializer::from_str(output).into_iter::<Value>() {
        match value.context("the output is not JSON")? {
            Value::Array(items) => objects.extend(items),
            value => objects.push(value),
        }
    }
    Ok(objects)
}

fn text(object: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("no {pointer} in {object}"))
}

fn env(service: &Value) -> anyhow::Result<Env> {
    let pairs = match service.pointer("/Spec/TaskTemplate/ContainerSpec/Env") {
        None => return Ok(Env::new()),
        Some(pairs) => pairs.as_array().with_context(|| format!("Env is not a list in {service}"))?,
    };
    let pair = |pair: &Value| {
        let (key, value) = pair.as_str()?.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    pairs.iter().map(|text| pair(text).with_context(|| format!("not KEY=value: {text}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_refusal_counts_as_one() {
        let refusal = |text: &str| match failure(text.to_owned()) {
            Answer::Refused(refusal, _) => Some(refusal),
            Answer::Done(_) | Answer::Unknown(_) => None,
        };
        assert_eq!(refusal("muster: a service named w exists already (id 1); choose another"), Some(Refusal::Exists));
        assert_eq!(refusal("muster: no service w; `muster service ls` lists them"), Some(Refusal::Missing));
        assert_eq!(refusal("muster: cannot reach the muster daemon at unix:///m.sock"), Some(Refusal::Other));
        assert_eq!(refusal("muster: lost the connection to the muster daemon"), None);
        assert_eq!(refusal(""), None);
    }

    #[test]
    fn objects_come_as_lines_or_as_a_list() {
        assert_eq!(objects("{\"a\":1}\n{\"a\":2}\n").expect("lines").len(), 2);
        assert_eq!(objects("[{\"a\":1},{\"a\":2}]").expect("a list").len(), 2);
        assert_eq!(objects("").expect("nothing").len(), 0);
        assert!(objects("{\"a\":").is_err());
    }

    #[test]
    fn the_environment_is_read_from_the_present_spec() {
        let service = |env: Value| serde_json::json!({"Spec": {"TaskTemplate": {"ContainerSpec": {"Env": env}}}});
        let read = env(&service(serde_json::json!(["A=1", "B=x=y"]))).expect("pairs");
        assert_eq!(read, Env::from([("A".into(), "1".into()), ("B".into(), "x=y".into())]));
        assert!(env(&service(serde_json::json!(["A"]))).is_err());
        assert_eq!(env(&serde_json::json!({"Spec": {}})).expect("none set"), Env::new());
    }
}
