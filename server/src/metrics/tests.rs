//! What is counted, as it is written.

use std::sync::Arc;

use http::{Method, Response};
use prometheus_client::encoding::prometheus_text;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::api::Matched;

fn written(metrics: &Metrics) -> String {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).unwrap();
    text
}

#[test]
fn requests_are_counted_by_pattern_and_inventions_as_one() {
    let metrics = Arc::new(Metrics::new());
    let meter = RequestMeter::new(Arc::clone(&metrics), "rest");
    let mut known = Response::new(());
    known.extensions_mut().insert(Matched("/nodes/{node}/tasks"));
    meter.note(&Method::GET, &known, Duration::from_millis(2));
    meter.note(&Method::GET, &known, Duration::from_secs(3));
    for odd in ["BREW", "PATCH"] {
        meter.note(&odd.parse().unwrap(), &Response::new(()), Duration::ZERO);
    }
    let text = written(&metrics);
    for line in [
        r#"coldkeep_http_requests_total{interface="rest",method="GET",path="/nodes/{node}/tasks",status="200"} 2"#,
        r#"coldkeep_http_requests_total{interface="rest",method="other",path="other",status="200"} 2"#,
        r#"path="/nodes/{node}/tasks",le="0.005"} 1"#,
        r#"coldkeep_http_request_duration_seconds_count{interface="rest",method="GET",path="/nodes/{node}/tasks"} 2"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_connection_counts_with_its_bytes_while_it_lives() {
    let metrics = Arc::new(Metrics::new());
    let (ours, mut theirs) = tokio::io::duplex(64);
    let mut ours = Metered::new(ours, Arc::clone(&metrics), ());
    ours.write_all(b"12345").await.unwrap();
    theirs.write_all(b"123").await.unwrap();
    ours.read_exact(&mut [0; 3]).await.unwrap();
    let values = |metrics: &Metrics| {
        (metrics.connections.get(), metrics.bytes_sent.get(), metrics.bytes_received.get())
    };
    assert_eq!(values(&metrics), (1, 5, 3));
    drop(ours);
    assert_eq!((values(&metrics), metrics.accepted.get()), ((0, 5, 3), 1));
}
