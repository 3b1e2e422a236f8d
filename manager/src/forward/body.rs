//! Answers on their way back, watched: one that breaks, or whose leader leads no more, ends with a status that says so,
//! instead of a broken connection that says nothing.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use muster_proto::version::Term;
use tokio::sync::watch;
use tonic::{Status, body::Body};

use crate::leadership::Leadership;

pub(super) struct Answer {
    first: Option<Frame<Bytes>>,
    rest: Option<Body>,
    /// Completes when the answer is not to be trusted to go on.
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Answer {
    /// Of a service of this manager, which leads in `term`.
    pub(super) fn of_mine(
        response: http::Response<Body>,
        mut leadership: watch::Receiver<Leadership>,
        term: Option<Term>,
    ) -> http::Response<Body> {
        let lost = async move {
            // Its end is an end too.
            let _ = leadership.wait_for(|now| now.leading() != term).await;
        };
        response.map(|body| Body::new(Self { first: None, rest: Some(body), lost: Box::pin(lost) }))
    }

    /// Of the leader. Returns with the first of what it says; until then a break is a reason to ask again.
    pub(super) async fn of_another(response: http::Response<Body>) -> Result<http::Response<Body>, Status> {
        let (parts, mut body) = response.into_parts();
        let first = match body.frame().await {
            None => None,
            Some(Ok(frame)) => Some(frame),
            Some(Err(_)) => return Err(broken()),
        };
        let answer = Self { first, rest: Some(body), lost: Box::pin(std::future::pending()) };
        Ok(http::Response::from_parts(parts, Body::new(answer)))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.rest = None;
        let mut trailers = broken().into_http::<Body>().into_parts().0.headers;
        trailers.remove(http::header::CONTENT_TYPE);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

fn broken() -> Status {
    Status::unavailable("the manager that leads has changed, and the answer broke off; ask again")
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        match Pin::new(rest).poll_frame(context) {
            Poll::Ready(Some(Err(_))) => self.end(),
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => match self.lost.as_mut().poll(context) {
                Poll::Ready(()) => self.end(),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users see it of what is not opened again by itself, such as logs that are not followed.
    #[tokio::test]
    async fn an_answer_whose_leader_is_lost_ends_with_what_happened_and_what_to_do() {
        let (_tell, leadership) = watch::channel(Leadership::Nobody);
        let unending =
            Body::new(http_body_util::StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Status>>()));
        let answer = Answer::of_mine(http::Response::new(unending), leadership, Some(Term(1)));
        let end =
            answer.into_body().frame().await.expect("an end").expect("trailers").into_trailers().expect("trailers");
        let said = Status::from_header_map(&end).expect("a status");
        assert_eq!(said.message(), "the manager that leads has changed, and the answer broke off; ask again");
    }
}
