# `verify` only reads, and is what CI runs; `fix` writes.

# Everything that must hold before a change lands
verify:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# Licences, bans and sources of the dependencies; advisories where there is a network
deny:
    cargo deny check licenses bans sources
    cargo deny check advisories || true

# Format, apply what clippy can mend, and rewrite golden files
fix:
    cargo fmt
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    UPDATE_EXPECT=1 cargo test --workspace

# Figures: idle, converge, commands, failover, writes, memory, nodes
bench *ARGS:
    cargo run --release -p muster-tests --bin bench -- {{ARGS}}

# Many seeds of the simulation, each a run of several managers under faults
simulate SEEDS="1..2000":
    MUSTER_SEEDS={{SEEDS}} cargo test -p muster-simulation every_seed_holds

# Faults under writes, and a check of the history: kill-manager, pause-manager, partition, kill-daemon
chaos *ARGS:
    cargo run -p muster-chaos -- {{ARGS}}
