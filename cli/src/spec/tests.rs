//! Flags to specs, as tables: a command line, and what of the spec differs from the one before.

mod create;
mod update;

use expect_test::Expect;
use muster_proto::service::ServiceSpec;

use crate::{
    error::Error,
    format::object,
    testing::objects::{create, update},
    view,
};

fn lines(spec: &ServiceSpec) -> Vec<String> {
    object::pretty(view::spec::spec(spec)).lines().map(str::to_owned).collect()
}

/// Lines that only one of the two has, warnings, or the error.
fn difference(before: &ServiceSpec, after: Result<(ServiceSpec, Vec<String>), Error>) -> String {
    let (after, warnings) = match after {
        Ok(after) => after,
        Err(error) => return format!("exit code {}: {error}\n", error.exit_code()),
    };
    let (before, after) = (lines(before), lines(&after));
    let bare = |line: &String| line.trim().trim_end_matches(',').to_owned();
    let only = |sign: char, these: &[String], those: &[String]| -> String {
        let those: Vec<String> = those.iter().map(bare).collect();
        let only = these.iter().map(bare).filter(|line| !those.contains(line));
        only.map(|line| format!("{sign} {line}\n")).collect()
    };
    let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    only('-', &before, &after) + &only('+', &after, &before) + &warnings
}

/// Compared with a service of which nothing is said.
fn check_create(line: &str, expected: Expect) {
    let (plain, _) = create("--name web app:1").expect("the plainest service");
    expected.assert_eq(&difference(&plain, create(line)));
}

const RICH: &str = "--name web --replicas 2 -p 8000:80 -e A=1 -e B=2 -l team=shop --container-label c=1 \
                    --mount type=volume,source=data,target=/v --cap-add NET_ADMIN --cap-drop CHOWN \
                    --ulimit nofile=1024 --constraint node.role==manager --placement-pref spread=node.labels.zone \
                    --user me --limit-memory 64m --health-tcp 80 app:1 serve";

fn check_update(line: &str, expected: Expect) {
    let (rich, _) = create(RICH).expect("a rich service");
    expected.assert_eq(&difference(&rich, update(rich.clone(), line)));
}
