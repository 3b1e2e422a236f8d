//! What two agents say to each other before a connection is relayed between them: which task it is for, and whether it
//! may have it. Bytes of the connection follow an answer that says yes.
//!
//! A header is a version, the length of what follows (at most 255 bytes), the task's id and the port inside its
//! container. What a later version puts behind these is passed over, so that the version counts up only where an older
//! agent would do wrong.

use std::io;

use muster_proto::id::TaskId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 1;
const BODY_BYTES: u8 = 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) task_id: TaskId,
    /// Inside the container.
    pub(super) target: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All that follows is the connection.
    Connected,
    /// The task is not here, not any more, or on its way out: nothing was done, another is to be asked.
    NotHere,
    /// The task is here and takes no connection.
    Unreachable,
    /// This node takes no more connections.
    Full,
    /// The header is of a version that this node does not know.
    OtherVersion,
}

impl Answer {
    const ALL: [Self; 5] = [Self::Connected, Self::NotHere, Self::Unreachable, Self::Full, Self::OtherVersion];

    fn code(self) -> u8 {
        match self {
            Self::Connected => 0,
            Self::NotHere => 1,
            Self::Unreachable => 2,
            Self::Full => 3,
            Self::OtherVersion => 4,
        }
    }

    /// Of a later agent: a refusal of a kind not known here.
    fn of_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|answer| answer.code() == code).unwrap_or(Self::Unreachable)
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Asks and returns the answer.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), header: Header) -> io::Result<Answer> {
    let mut bytes = vec![VERSION, BODY_BYTES];
    bytes.extend_from_slice(&header.task_id.bits().to_be_bytes());
    bytes.extend_from_slice(&header.target.to_be_bytes());
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    stream.read_u8().await.map(Answer::of_code)
}

/// None: of a version that is not known here.
pub(super) async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Header>> {
    let version = stream.read_u8().await?;
    let length = stream.read_u8().await?;
    let mut body = vec![0; usize::from(length)];
    stream.read_exact(&mut body).await?;
    if version != VERSION {
        return Ok(None);
    }
    let (id, rest) = body.split_first_chunk().ok_or_else(|| invalid("a header without a task"))?;
    let target = rest.first_chunk().ok_or_else(|| invalid("a header without a port"))?;
    Ok(Some(Header { task_id: TaskId::from_bits(u128::from_be_bytes(*id)), target: u16::from_be_bytes(*target) }))
}

pub(super) async fn answer(stream: &mut (impl AsyncWrite + Unpin), answer: Answer) -> io::Result<()> {
    stream.write_all(&[answer.code()]).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { task_id: TaskId::from_bits(u128::MAX / 3), target: 8080 };

    #[tokio::test]
    async fn a_header_arrives_as_it_was_sent_and_so_does_every_answer() {
        for said in Answer::ALL {
            let (mut here, mut there) = tokio::io::duplex(64);
            let heard = async {
                assert_eq!(hear(&mut there).await.unwrap(), Some(HEADER));
                answer(&mut there, said).await.unwrap();
            };
            let (asked, ()) = tokio::join!(ask(&mut here, HEADER), heard);
            assert_eq!(asked.unwrap(), said);
        }
    }

    async fn read(bytes: &[u8]) -> io::Result<Option<Header>> {
        hear(&mut &*bytes).await
    }

    #[tokio::test]
    async fn other_versions_and_halves_are_told_apart() {
        let mut bytes = vec![VERSION, BODY_BYTES + 2];
        bytes.extend([7; 20]);
        assert!(read(&bytes).await.unwrap().is_some(), "what a later version adds is passed over");
        bytes[0] = 2;
        assert_eq!(read(&bytes).await.unwrap(), None);
        bytes[0] = VERSION;
        assert_eq!(read(&bytes[..10]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&[VERSION, 4, 0, 0, 0, 0]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
