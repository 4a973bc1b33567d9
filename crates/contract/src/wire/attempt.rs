//! Attempts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::fields::{attempt_number, bad_value, id, known, required, time, write_id};
use super::generated::attempt::Result as Wire;
use super::outcome::{read_class, read_status, write_class};
use super::{WireError, generated};
use crate::attempt::{Attempt, AttemptResult, BodyExtent, Header, Response, SentRequest, Timings};
use crate::ids::AttemptId;

pub(super) fn write_attempt(attempt: &Attempt) -> generated::Attempt {
    let request = &attempt.request;
    generated::Attempt {
        id: write_id(attempt.id.as_u128()),
        number: attempt.number.number(),
        started_at: attempt.started_at.as_millis(),
        request: Some(generated::SentRequest {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: write_headers(&request.headers),
            body_sha256: Bytes::copy_from_slice(&request.body_sha256),
            body_length: request.body_length,
        }),
        address: attempt.address.map(write_address),
        timings: Some(write_timings(attempt.timings)),
        result: Some(write_result(&attempt.result)),
    }
}

pub(super) fn read_attempt(wire: generated::Attempt) -> Result<Attempt, WireError> {
    Ok(Attempt {
        id: AttemptId::from_u128(id("attempt.id", &wire.id)?),
        number: attempt_number("attempt.number", wire.number)?,
        started_at: time("attempt.started_at", wire.started_at)?,
        request: read_request(required("attempt.request", wire.request)?)?,
        address: wire.address.map(|address| read_address(&address)).transpose()?,
        timings: read_timings(required("attempt.timings", wire.timings)?),
        result: read_result(required("attempt.result", wire.result)?)?,
    })
}

/// Leaves an empty one.
pub(super) fn take_body(attempt: &mut generated::Attempt) -> Bytes {
    match &mut attempt.result {
        Some(Wire::Response(response)) => std::mem::take(&mut response.body),
        Some(Wire::Failure(_)) | None => Bytes::new(),
    }
}

pub(super) fn put_body(attempt: &mut Attempt, body: Bytes) {
    match &mut attempt.result {
        AttemptResult::Response(response) => response.body = body,
        AttemptResult::Failure { class: _, detail: _ } => {}
    }
}

fn read_request(wire: generated::SentRequest) -> Result<SentRequest, WireError> {
    let body_sha256 = <[u8; 32]>::try_from(wire.body_sha256.as_ref())
        .map_err(|_| bad_value("request.body_sha256", "must be 32 bytes long"))?;
    Ok(SentRequest {
        method: wire.method,
        url: wire.url,
        headers: read_headers(wire.headers)?,
        body_sha256,
        body_length: wire.body_length,
    })
}

fn write_headers(headers: &[Header]) -> Vec<generated::Header> {
    let write = |header: &Header| generated::Header {
        name: header.name.as_bytes().clone(),
        value: header.value.clone(),
    };
    headers.iter().map(write).collect()
}

fn read_headers(wire: Vec<generated::Header>) -> Result<Vec<Header>, WireError> {
    let read = |generated::Header { name, value }| {
        let name = name.try_into().map_err(|_| bad_value("header.name", "is not text"))?;
        Ok(Header { name, value })
    };
    wire.into_iter().map(read).collect()
}

/// Address and port; the scope of a link-local IPv6 address is not kept.
fn write_address(address: SocketAddr) -> generated::Address {
    let ip = match address.ip() {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    };
    generated::Address { ip, port: u32::from(address.port()) }
}

fn read_address(wire: &generated::Address) -> Result<SocketAddr, WireError> {
    let octets = wire.ip.as_ref();
    let ip = if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        IpAddr::V4(Ipv4Addr::from(octets))
    } else if let Ok(octets) = <[u8; 16]>::try_from(octets) {
        IpAddr::V6(Ipv6Addr::from(octets))
    } else {
        return Err(bad_value("address.ip", "must be 4 or 16 bytes long"));
    };
    let port = u16::try_from(wire.port).map_err(|_| bad_value("address.port", "is above 65535"))?;
    Ok(SocketAddr::new(ip, port))
}

fn write_timings(timings: Timings) -> generated::Timings {
    generated::Timings {
        dns: timings.dns.map(write_micros),
        connect: timings.connect.map(write_micros),
        tls: timings.tls.map(write_micros),
        first_byte: timings.first_byte.map(write_micros),
        total: write_micros(timings.total),
    }
}

fn read_timings(wire: generated::Timings) -> Timings {
    Timings {
        dns: wire.dns.map(Duration::from_micros),
        connect: wire.connect.map(Duration::from_micros),
        tls: wire.tls.map(Duration::from_micros),
        first_byte: wire.first_byte.map(Duration::from_micros),
        total: Duration::from_micros(wire.total),
    }
}

/// Microseconds, unlike the rest of the wire: a try on this machine takes less than one millisecond.
fn write_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn write_result(result: &AttemptResult) -> Wire {
    match result {
        AttemptResult::Response(response) => Wire::Response(generated::Response {
            status: u32::from(response.status),
            headers: write_headers(&response.headers),
            body: response.body.clone(),
            extent: write_extent(response.extent),
        }),
        AttemptResult::Failure { class, detail } => {
            Wire::Failure(generated::Failure { class: write_class(*class), detail: detail.clone() })
        }
    }
}

fn read_result(wire: Wire) -> Result<AttemptResult, WireError> {
    Ok(match wire {
        Wire::Response(response) => AttemptResult::Response(Response {
            status: read_status("response.status", response.status)?,
            headers: read_headers(response.headers)?,
            body: response.body,
            extent: read_extent(response.extent)?,
        }),
        Wire::Failure(failure) => AttemptResult::Failure {
            class: read_class("failure.class", failure.class)?,
            detail: failure.detail,
        },
    })
}

fn write_extent(extent: BodyExtent) -> i32 {
    i32::from(match extent {
        BodyExtent::Whole => generated::BodyExtent::Whole,
        BodyExtent::Truncated => generated::BodyExtent::Truncated,
        BodyExtent::CutOff => generated::BodyExtent::CutOff,
    })
}

fn read_extent(number: i32) -> Result<BodyExtent, WireError> {
    match known("response.extent", number)? {
        generated::BodyExtent::Unspecified => Err(WireError::Missing { field: "response.extent" }),
        generated::BodyExtent::Whole => Ok(BodyExtent::Whole),
        generated::BodyExtent::Truncated => Ok(BodyExtent::Truncated),
        generated::BodyExtent::CutOff => Ok(BodyExtent::CutOff),
    }
}
