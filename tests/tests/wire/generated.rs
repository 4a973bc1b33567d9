//! The generated code is what the .proto file makes.

use std::fs;
use std::path::Path;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/contract/src/wire/generated.rs");

/// If this fails after a change of the .proto file, copy the file that it names over the committed one.
#[test]
fn the_committed_code_is_what_the_proto_file_makes() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wire");
    fs::create_dir_all(&folder).unwrap();
    let files = protox::compile(["postrider/v1/queue.proto"], [super::PROTO]).unwrap();
    let mut generator = prost_build::Config::new();
    generator.bytes(["."]).out_dir(&folder).compile_fds(files).unwrap();
    let made = folder.join("postrider.v1.rs");
    assert!(
        fs::read(&made).unwrap() == fs::read(COMMITTED).unwrap(),
        "{} differs from {COMMITTED}",
        made.display()
    );
}
