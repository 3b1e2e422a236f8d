//! The end of a membership, and what one that did not end, or did not begin, has left of it.

use anyhow::bail;

use super::{Force, Host, Left};
use crate::daemon::{
    leave,
    member::{self, Member},
    record::{Phase, Record},
    whereabouts::Whereabouts,
};

impl Host {
    /// Ends this host's membership, and with the only manager's the cluster.
    pub(in crate::daemon) async fn leave(&self, force: Force) -> anyhow::Result<Left> {
        let mut slot = self.member.lock().await;
        let (left, warnings) = match slot.as_ref() {
            Some(member) => {
                let warnings = leave::part(member, force).await?;
                (self.leaving(member.record().clone())?, warnings)
            }
            None => self.part_without_parts(force).await?,
        };
        let removed = match slot.take() {
            Some(member) => {
                let removed = member.agent().remove_everything().await.map_err(anyhow::Error::new);
                member.stop().await;
                removed
            }
            None => leave::remove_containers(&self.args, &left).await,
        };
        self.announce(None);
        // Who forgot the cluster before could never tell which containers were its own.
        match removed {
            Ok(containers_removed) => {
                member::erase(&self.data_dir).map(|()| Left { containers_removed, warnings })
            }
            Err(error) => Err(error.context(
                "this host has left its cluster, but not all of its containers could be removed; make sure that the engine \
                 runs and repeat `muster leave`",
            )),
        }
    }

    /// Of a host that runs nothing of a membership, and has perhaps the record of one.
    async fn part_without_parts(&self, force: Force) -> anyhow::Result<(Record, Vec<String>)> {
        match Record::read(&self.data_dir.member())? {
            Some(record) if record.phase == Phase::Leaving => Ok((record, Vec::new())),
            // The cluster knows this host already.
            Some(record) if record.phase == Phase::Member => {
                let managers = Whereabouts::remembered(&self.data_dir.agent(), &record);
                let warnings = leave::part_as(&record, &managers, force).await?;
                Ok((self.leaving(record)?, warnings))
            }
            // What an interrupted `join` has left is not wanted any more either.
            Some(_) | None => {
                member::erase(&self.data_dir)?;
                bail!("this host is in no cluster; there is nothing to leave");
            }
        }
    }

    fn leaving(&self, record: Record) -> anyhow::Result<Record> {
        let left = Record { phase: Phase::Leaving, ..record };
        left.write(&self.data_dir.member())?;
        Ok(left)
    }

    /// A host is in one cluster at most. Returns what a `join` that did not come to its end has left.
    pub(super) fn refuse_members(&self, member: Option<&Member>) -> anyhow::Result<Option<Record>> {
        if let Some(member) = member {
            bail!(
                "this host is in cluster {} already; see it with `muster info`, or leave it first with `muster leave`",
                member.record().cluster_id
            );
        }
        let Some(record) = Record::read(&self.data_dir.member())? else { return Ok(None) };
        match record.phase {
            Phase::Joining => Ok(Some(record)),
            Phase::Creating => Ok(None),
            Phase::Member => bail!(
                "this host is a node of cluster {} whose parts did not start; start its daemon again, or leave with \
                 `muster leave`",
                record.cluster_id
            ),
            Phase::Leaving => bail!(
                "this host has left cluster {}, and not all of its containers are removed; repeat `muster leave` first",
                record.cluster_id
            ),
        }
    }
}
