use ::http::{Request, StatusCode};
use axum::body::Body;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

async fn scraped(metrics: &Metrics) -> String {
    let request = Request::get("/metrics").body(Body::empty()).expect("a request");
    let answer = metrics.routes().oneshot(request).await.expect("routers do not fail");
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn every_series_is_there_at_zero_from_the_start() {
    let metrics = Metrics::new("1.2.3", "abc").expect("fresh");
    IngestMetrics::register(&metrics).expect("fresh");
    WorkerMetrics::register(&metrics).expect("fresh");
    StatusMetrics::register(&metrics).expect("fresh");
    QueueMetrics::register(&metrics).expect("fresh");
    let text = scraped(&metrics).await;
    for line in [
        r#"postrider_build_info{revision="abc",version="1.2.3"} 1"#,
        r#"postrider_ingest_events_total{result="unavailable",source="amqp"} 0"#,
        r#"postrider_delivery_attempts_total{outcome="failure",provider="slack",reason="timeout"} 0"#,
        r#"postrider_delivery_attempts_total{outcome="success",provider="make",reason="2xx"} 0"#,
        r#"postrider_delivery_retries_scheduled_total{step="10+"} 0"#,
        r#"postrider_queue_messages{queue="dead"} 0"#,
        "postrider_queues_missing 0",
        r#"postrider_webhooks{state="disabled"} 0"#,
        "postrider_status_lag_seconds 0",
        "process_cpu_seconds_total",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    let ours = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
    for line in ours {
        assert!(line.starts_with("postrider_"), "{line}");
    }
}

#[tokio::test]
async fn a_group_counts_where_it_was_told_to() {
    let metrics = Metrics::new("1", "a").expect("fresh");
    let ingest = IngestMetrics::register(&metrics).expect("fresh");
    let worker = WorkerMetrics::register(&metrics).expect("fresh");
    assert!(IngestMetrics::register(&metrics).is_err(), "a group is registered once");
    for source in IngestSource::ALL {
        for result in IngestResult::ALL {
            ingest.events.at(*source, *result).inc();
        }
    }
    worker.note_attempt(AttemptReason::Blocked, ProviderLabel::Webhook, std::time::Duration::from_millis(20));
    worker.retries_scheduled.at(RetryStep::of(12)).inc();
    let text = scraped(&metrics).await;
    assert_eq!(text.matches("postrider_ingest_events_total{").count(), 12);
    assert!(!text.lines().any(|line| line.starts_with("postrider_ingest_events") && !line.ends_with(" 1")));
    assert!(text.contains("postrider_ssrf_blocked_total 1"));
    assert!(text.contains(r#"postrider_delivery_retries_scheduled_total{step="10+"} 1"#));
    assert!(text.contains(r#"postrider_delivery_attempt_duration_seconds_count{outcome="failure"} 1"#));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let metrics = Metrics::new("1", "a").expect("fresh");
    let http = HttpMetrics::register(&metrics).expect("fresh");
    let routes = Router::new().route("/v1/events/{id}", get(async || "an event"));
    let router = http.observe(routes);
    for (method, path) in
        [("GET", "/v1/events/evt_1"), ("GET", "/secret/evt_2"), ("BREW", "/v1/events/evt_3")]
    {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("routers do not fail");
    }
    let text = scraped(&metrics).await;
    for line in [
        r#"postrider_http_requests_total{method="GET",route="/v1/events/{id}",status_class="2xx"} 1"#,
        r#"postrider_http_requests_total{method="GET",route="unmatched",status_class="4xx"} 1"#,
        r#"postrider_http_requests_total{method="other",route="/v1/events/{id}",status_class="4xx"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("evt_"));
}
