//! Values as bytes, so that two of them are equal where their bytes are: `1.0` and `1`, whatever the order of members.

use crate::json::{Decimal, Node};

pub(super) fn canonical(node: &Node<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write(node, &mut out);
    out
}

/// No deeper than JSON may be.
fn write(node: &Node<'_>, out: &mut Vec<u8>) {
    match node {
        Node::Null => out.push(b'n'),
        Node::Bool(true) => out.push(b't'),
        Node::Bool(false) => out.push(b'f'),
        Node::Number(text) => match Decimal::parse(text) {
            Some(number) => number.write_canonical(out),
            // Too long to be compared: equal to itself alone.
            None => {
                out.push(b'#');
                out.extend_from_slice(text.as_bytes());
            }
        },
        Node::String(bytes) => write_text(bytes, out),
        Node::Array(items) => {
            out.push(b'[');
            items.iter().for_each(|item| write(item, out));
            out.push(b']');
        }
        Node::Object(members) => {
            out.push(b'{');
            for (name, value) in members.iter() {
                write_text(name, out);
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

/// With its length before it, so that no text looks like two.
fn write_text(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}
