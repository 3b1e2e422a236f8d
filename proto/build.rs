//! Compiles the .proto files with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["types", "control", "local", "dispatcher"].map(|name| format!("muster/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["proto"])?;
    println!("cargo::rerun-if-changed=proto");
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
