//! What keeps the tree in shape: who may know whom, what a file may hold, and that documents tell the truth.

#[path = "architecture/crates.rs"]
mod crates;
#[path = "architecture/documents.rs"]
mod documents;
#[path = "architecture/generated.rs"]
mod generated;
#[path = "architecture/sources.rs"]
mod sources;
#[path = "architecture/tree.rs"]
mod tree;
