//! Compiles the .proto files with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["types", "control", "local", "dispatcher", "membership", "raft", "whereabouts"]
        .map(|name| format!("muster/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["proto"])?;
    println!("cargo::rerun-if-changed=proto");
    // Ordered maps: equal messages have equal bytes, and tables come out the same every time.
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
