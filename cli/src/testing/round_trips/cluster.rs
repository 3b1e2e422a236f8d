//! The cluster's settings.

use expect_test::expect;
use muster_proto::{cluster::ClusterSpec, v1};

use super::super::fake::{World, run};
use super::{check, shown, world};

#[test]
fn the_settings_are_shown() {
    check(
        "cluster inspect",
        expect![[r#"
        [
          {
            "ID": "c100000000000000000000000",
            "Version": {
              "Index": 1
            },
            "CreatedAt": "2026-11-22T00:00:00.000Z",
            "Incarnation": 1,
            "Spec": {
              "Orchestration": {
                "TaskHistoryRetentionLimit": 5,
                "AutoRebalance": false
              },
              "Dispatcher": {
                "HeartbeatPeriod": 1000000000,
                "Lease": 3000000000
              },
              "CAConfig": {
                "NodeCertExpiry": 7776000000000000
              },
              "TaskDefaults": {
                "MemoryBytes": 1073741824,
                "Pids": 4096
              }
            },
            "Managers": 1,
            "Nodes": 1,
            "Services": 2,
            "TasksRunning": 7
          }
        ]
        exit code 0
    "#]],
    );
    check(
        "cluster inspect --pretty",
        expect![[r#"
        ID:                 c100000000000000000000000
        Created:            2026-11-22T00:00:00.000Z
        Incarnation:        1
        Holds:
         Managers:          1
         Nodes:             1
         Services:          2
         Tasks running:     7
        Settings:
         Task history:      5 for each slot
         Heartbeat:         1s
         Lease:             3s
         Default memory:    1GiB
         Default pids:      4096
         Certificates for:  2160h
         Auto rebalance:    off
        exit code 0
    "#]],
    );
    check(
        "cluster inspect --format '{{.Spec.Dispatcher.Lease}} {{.Nodes}}'",
        expect![[r#"
        3000000000 1
        exit code 0
    "#]],
    );
}

#[test]
fn what_is_named_is_changed_and_the_rest_stays() {
    let ran = run(World { aborts_left: 2, ..world() }, "cluster update --lease 10s --auto-rebalance true");
    assert_eq!(shown(&ran), "c100000000000000000000000\nexit code 0\n");
    let expected = v1::ClusterSpec { lease_ms: 10_000, auto_rebalance: true, ..(&ClusterSpec::default()).into() };
    assert_eq!(ran.world.settings, Some(expected));

    let all = "cluster update --task-history-limit 2 --dispatcher-heartbeat 2s --default-memory-limit 0 \
               --default-pids-limit 64 --cert-expiry 1h --auto-rebalance false";
    let ran = run(World { settings: Some(expected), ..world() }, all);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let expected = v1::ClusterSpec {
        task_history_limit: 2,
        heartbeat_ms: 2_000,
        lease_ms: 10_000,
        default_memory_limit_bytes: 0,
        default_pids_limit: 64,
        certificate_validity_ms: 3_600_000,
        auto_rebalance: false,
    };
    assert_eq!(ran.world.settings, Some(expected));
}

#[test]
fn settings_that_contradict_each_other_are_not_sent() {
    for (flags, said) in [
        ("", "nothing to change is named"),
        ("--lease 1s", "a lease of 1s does not outlast 2 heartbeats of 1s; use a lease of 2s at least"),
        ("--lease 0", "a lease of 0s does not outlast"),
        ("--heartbeat 2s", "a lease of 3s does not outlast 2 heartbeats of 2s"),
        ("--heartbeat 0", "the heartbeat of 0s is too short"),
        ("--heartbeat 5m --lease 1h", "the heartbeat of 5m is too long"),
        ("--cert-expiry 1s", "the certificates' validity of 1s is too short"),
        ("--default-memory-limit 1m", "lets nothing start"),
        ("--default-pids-limit 1", "a default limit of 1 processes cannot be set"),
        ("--task-history-limit 101", "it is too large; write a whole number from 0 to 100"),
        ("--task-history-limit -1", "it is negative"),
        ("--auto-rebalance sometimes", "invalid value 'sometimes'"),
    ] {
        let ran = run(world(), &format!("cluster update {flags}"));
        assert!(ran.code == 2 && ran.world.settings.is_none(), "{flags}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{flags}: {}", ran.stderr);
    }
}
