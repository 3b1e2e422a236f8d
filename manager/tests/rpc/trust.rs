//! Join tokens, the root certificate and its rotation, backups.

use muster_manager::{
    backup,
    ca::{self, JoinToken},
};
use muster_proto::{id::NodeId, node::Role, v1};
use tonic::{Code, Status};

use crate::{
    bench::{Bench, NODE, soon},
    membership::{Newcomer, read, renew_showing},
};

fn standing(role: v1::Role) -> v1::GetJoinTokenRequest {
    v1::GetJoinTokenRequest { role: role.into(), rotate: false, ttl_ms: None, uses: None }
}

async fn token(bench: &mut Bench, request: v1::GetJoinTokenRequest) -> Result<v1::GetJoinTokenResponse, Status> {
    soon("a token", bench.control.get_join_token(request)).await.map(tonic::Response::into_inner)
}

fn parts(answer: &v1::GetJoinTokenResponse) -> JoinToken {
    answer.token.parse().expect("a token")
}

#[tokio::test]
async fn the_standing_token_stays_until_it_is_rotated() {
    let mut bench = Bench::start().await;
    let worker = token(&mut bench, standing(v1::Role::Worker)).await.expect("shown");
    assert_eq!(token(&mut bench, standing(v1::Role::Worker)).await.expect("shown"), worker);
    assert_eq!((worker.expires_at, worker.uses_left), (None, None));
    assert_eq!(worker.managers, ["127.0.0.1:7377"]);
    let root = read(&bench, |state| state.authority().expect("a root").root.digest);
    assert_eq!(parts(&worker).ca, root);
    let manager = token(&mut bench, standing(v1::Role::Manager)).await.expect("shown");
    assert_ne!(parts(&manager).secret, parts(&worker).secret);

    let rotated = v1::GetJoinTokenRequest { rotate: true, ..standing(v1::Role::Worker) };
    let rotated = token(&mut bench, rotated).await.expect("rotated");
    assert_ne!(parts(&rotated).secret, parts(&worker).secret);
    assert_eq!(token(&mut bench, standing(v1::Role::Worker)).await.expect("shown"), rotated);
    assert_eq!(token(&mut bench, standing(v1::Role::Manager)).await.expect("shown"), manager, "of another role");
    let newcomer = Newcomer::new(7).await;
    let refused = newcomer.join(&bench, &parts(&worker).secret.to_string()).await.expect_err("void");
    assert_eq!(refused.code(), Code::PermissionDenied);
    newcomer.join(&bench, &parts(&rotated).secret.to_string()).await.expect("joins");
    bench.stop().await;
}

#[tokio::test]
async fn a_passing_token_ends_by_itself_and_nonsense_is_refused() {
    let mut bench = Bench::start().await;
    let worker = token(&mut bench, standing(v1::Role::Worker)).await.expect("shown");
    let once = v1::GetJoinTokenRequest { ttl_ms: Some(60_000), uses: Some(1), ..standing(v1::Role::Worker) };
    let once = token(&mut bench, once).await.expect("made");
    assert_eq!(once.uses_left, Some(1));
    assert!(once.expires_at.is_some());
    assert_eq!(token(&mut bench, standing(v1::Role::Worker)).await.expect("shown"), worker, "kept beside it");
    Newcomer::new(7).await.join(&bench, &parts(&once).secret.to_string()).await.expect("joins");
    let again = Newcomer::new(8).await.join(&bench, &parts(&once).secret.to_string()).await;
    assert!(again.expect_err("used up").message().contains("is used up"));
    for request in [
        v1::GetJoinTokenRequest { ttl_ms: Some(999), ..standing(v1::Role::Worker) },
        v1::GetJoinTokenRequest { ttl_ms: Some(u64::MAX), ..standing(v1::Role::Worker) },
        v1::GetJoinTokenRequest { uses: Some(0), ..standing(v1::Role::Worker) },
        v1::GetJoinTokenRequest { uses: Some(10_001), ..standing(v1::Role::Worker) },
        v1::GetJoinTokenRequest { rotate: true, uses: Some(1), ..standing(v1::Role::Worker) },
        standing(v1::Role::Unspecified),
    ] {
        assert_eq!(token(&mut bench, request).await.expect_err("refused").code(), Code::InvalidArgument);
    }
    bench.stop().await;
}

async fn rotate(bench: &mut Bench, begin: bool) -> Result<v1::RotateCaResponse, Status> {
    soon("the rotation", bench.control.rotate_ca(v1::RotateCaRequest { begin })).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_rotation_ends_once_every_node_has_shown_a_certificate_of_the_new_root() {
    let mut bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    let worker = token(&mut bench, standing(v1::Role::Worker)).await.expect("shown");
    let granted = newcomer.join(&bench, &parts(&worker).secret.to_string()).await.expect("joins");
    let before = rotate(&mut bench, false).await.expect("told");
    assert!(!before.rotating && before.waiting_for.is_empty() && before.nodes == 2);

    let begun = rotate(&mut bench, true).await.expect("begun");
    assert!(begun.rotating && begun.root_digest != before.root_digest);
    assert_eq!(begun.previous_digest, Some(before.root_digest.clone()));
    assert_eq!((begun.waiting_for.len(), begun.roots_pem.len()), (2, 2));
    let again = rotate(&mut bench, true).await.expect_err("one at a time");
    assert_eq!(again.code(), Code::FailedPrecondition);
    let secret = parts(&worker).secret.to_string();
    let refused = Newcomer::new(8).await.join(&bench, &secret).await.expect_err("void");
    assert_eq!((refused.code(), refused.message().contains("token")), (Code::PermissionDenied, true), "{refused}");

    let (old, new) = (Some(before.root_digest.as_str()), Some(begun.root_digest.as_str()));
    let (first, second) = (Newcomer::new(NODE.bits()).await, &newcomer);
    // Twice: the first answer was lost.
    for _ in 0..2 {
        for newcomer in [&first, second] {
            let renewed = renew_showing(&bench, newcomer, old).await.expect("renewed");
            assert_eq!(renewed.roots_pem, begun.roots_pem);
            assert_ne!(renewed.certificate_pem, granted.certificate_pem);
            assert_eq!(
                renewed.certificate_pem.matches("BEGIN CERTIFICATE").count(),
                2,
                "and how the old root leads to it"
            );
        }
        assert_eq!(rotate(&mut bench, false).await.expect("told").waiting_for.len(), 2, "nobody has shown it");
    }
    renew_showing(&bench, second, new).await.expect("renewed");
    assert_eq!(rotate(&mut bench, false).await.expect("told").waiting_for, [NODE.to_string()]);
    renew_showing(&bench, &first, new).await.expect("renewed");
    let ended = soon("the end", async {
        loop {
            let now = rotate(&mut bench, false).await.expect("told");
            if !now.rotating {
                return now;
            }
        }
    });
    let ended = ended.await;
    assert_eq!((ended.previous_digest, ended.roots_pem.len()), (None, 1));
    assert_eq!(ca::digest(&ended.roots_pem[0]).expect("a root").to_string(), ended.root_digest);
    // The token that is shown from now on leads to the new root.
    let shown = token(&mut bench, standing(v1::Role::Worker)).await.expect("shown");
    assert_eq!(parts(&shown).ca.to_string(), ended.root_digest);
    Newcomer::new(8).await.join(&bench, &parts(&shown).secret.to_string()).await.expect("joins");
    bench.stop().await;
}

#[tokio::test]
async fn a_backup_holds_the_state_and_the_key() {
    let mut bench = Bench::start().await;
    bench.create(&crate::bench::replicated("web", "app:1", 1)).await.expect("created");
    let mut chunks = soon("a backup", bench.control.backup(v1::BackupRequest {})).await.expect("begun").into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = soon("a chunk", chunks.message()).await.expect("no error") {
        assert!(chunk.bytes.len() <= backup::CHUNK_BYTES_MAX);
        bytes.extend(chunk.bytes);
    }
    let copy = backup::read(&bytes).expect("a backup");
    assert_eq!(copy.cluster_key.bytes(), bench.cluster_key.bytes());
    assert!(copy.state.service_named("web").is_some());
    let nodes: Vec<NodeId> = copy.state.managers().map(|node| node.id).collect();
    assert_eq!(nodes, [NODE]);
    assert_eq!(copy.state.node(NODE).map(|node| node.spec.role), Some(Role::Manager));
    bench.stop().await;
}
