//! One value that outlasts the daemon: read at the start, written down whenever it changed. For what helps a restarted
//! agent and decides nothing that cannot be learnt again: a value that cannot be read is as one never written.
//!
//! [`Kept`] is held by whoever changes the value, [`Keeper::run`] is the only writer.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    StoreError,
    sealed::{self, Content},
};

/// Between two writes, so that a value that changes all the time does not keep the disk busy.
const WRITE_PAUSE: Duration = Duration::from_millis(200);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    value: Arc<watch::Sender<T>>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone() }
    }
}

#[derive(Debug)]
pub(crate) struct Keeper<T> {
    path: PathBuf,
    seen: watch::Receiver<T>,
}

/// Blocking. A file that is damaged, or of another version, is passed over: the first write replaces it.
pub(crate) fn open<T>(data_dir: &Path, name: &str) -> Result<(Kept<T>, Keeper<T>), StoreError>
where
    T: Default + DeserializeOwned,
{
    let path = data_dir.join(name);
    let value = match fs::read(&path) {
        Ok(bytes) => match sealed::parse(&bytes) {
            Content::Value(value) => *value,
            Content::Damaged(damage) => {
                warn!(file = %path.display(), reason = %damage, "a file of the agent is damaged; doing without it");
                T::default()
            }
            Content::OtherFormat(format) => {
                warn!(file = %path.display(), format, "a file of the agent is of another version; doing without it");
                T::default()
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => T::default(),
        Err(error) => return Err(super::files::failed("read", &path)(error)),
    };
    let (sender, seen) = watch::channel(value);
    Ok((Kept { value: Arc::new(sender) }, Keeper { path, seen }))
}

impl<T: Clone + PartialEq> Kept<T> {
    pub(crate) fn get(&self) -> T {
        self.value.borrow().clone()
    }

    pub(crate) fn set(&self, value: T) {
        self.value.send_if_modified(|held| {
            let changed = *held != value;
            *held = value;
            changed
        });
    }
}

impl<T: Clone + Serialize + Send + Sync + 'static> Keeper<T> {
    /// Until `shutdown`, and then once more where something is not written.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut told = false;
        loop {
            let stopping = tokio::select! {
                biased;
                () = shutdown.cancelled() => true,
                changed = self.seen.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.seen.mark_changed();
                    false
                }
            };
            // Whoever changes it may have gone first, and then it is not said whether it was changed.
            if stopping && !self.seen.has_changed().unwrap_or(true) {
                return;
            }
            let pause = match self.write().await {
                Ok(()) => {
                    told = false;
                    WRITE_PAUSE
                }
                Err(error) => {
                    if !told {
                        warn!(%error, "what managers said is not written down; trying again");
                    }
                    told = true;
                    self.seen.mark_changed();
                    RETRY
                }
            };
            if stopping {
                return;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let (value, path) = (self.seen.borrow_and_update().clone(), self.path.clone());
        let written = tokio::task::spawn_blocking(move || {
            sealed::replace(&path, &value)?;
            path.parent().map_or(Ok(()), sealed::sync_folder)
        });
        written.await.unwrap_or(Err(StoreError::Closed))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Value {
        words: Vec<String>,
    }

    #[tokio::test]
    async fn a_value_outlasts_its_keeper_and_damage_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, keeper) = open::<Value>(dir.path(), "value.json").unwrap();
        assert_eq!(kept.get(), Value::default());
        let said = Value { words: vec!["a".to_owned()] };
        kept.set(said.clone());
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        keeper.run(shutdown).await;
        assert_eq!(open::<Value>(dir.path(), "value.json").unwrap().0.get(), said);
        let (kept, keeper) = open::<Value>(dir.path(), "value.json").unwrap();
        let last = Value { words: vec!["b".to_owned()] };
        kept.set(last.clone());
        drop(kept);
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        keeper.run(shutdown).await;
        assert_eq!(open::<Value>(dir.path(), "value.json").unwrap().0.get(), last, "though whoever held it has gone");
        fs::write(dir.path().join("value.json"), "{}").unwrap();
        assert_eq!(open::<Value>(dir.path(), "value.json").unwrap().0.get(), Value::default());
    }
}
