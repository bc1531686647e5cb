//! Turns the contracts into Rust: messages, clients and servers, the embedded descriptor set, the
//! contract table and the validation rules. Needs no system protoc.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "how a build script and cargo speak")]

mod contract;
mod validation;

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_reflect::DescriptorPool;
use tonic_prost_build::FileDescriptorSet;

const CONTRACTS: [&str; 5] = [
    "errand/options/v1/options.proto",
    "errand/auth/v1/auth.proto",
    "errand/task/v1/service.proto",
    "errand/chat/v1/chat.proto",
    // Clients and edges read error details by their descriptors.
    "third_party/google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=errand");
    println!("cargo:rerun-if-changed=third_party");
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["third_party", "."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(CONTRACTS)?;
    compiler.open_file("third_party/google/rpc/status.proto")?;
    // Encoded, because decoding it into plain descriptors would drop the extension options.
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(out.join("descriptors.bin"), &encoded)?;

    let pool = DescriptorPool::decode(encoded.as_slice())?;
    fs::write(out.join("contract.rs"), contract::generate(&pool)?)?;
    fs::write(out.join("validation.rs"), validation::generate(&pool)?)?;

    let mut files = FileDescriptorSet::decode(encoded.as_slice())?;
    for file in files.file.iter_mut().filter(|file| !file.package().starts_with("errand.")) {
        // Other people's comments are no rustdoc.
        file.source_code_info = None;
    }
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::codec::Codec")
        .bytes(".nothing")
        .compile_well_known_types(false)
        .compile_fds(files)?;
    Ok(())
}
