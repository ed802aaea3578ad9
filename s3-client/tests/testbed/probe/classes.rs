//! The classes of conditional put.

use coldkeep_s3_client::probe::{ConditionClass, TagForm};
use coldkeep_s3_client::{Client, Config, Limits, ProbeOptions, Quirk, Quirks};
use coldkeep_s3_testbed::{ConditionalPut, Lack, Options};

use super::{client, clock, probe, server};

fn kind(conditional_put: ConditionalPut) -> Options {
    Options { conditional_put, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_and_ignored_conditions_need_quirks() {
    let refused = probe(kind(ConditionalPut::Refused)).await;
    assert_eq!(refused.put_if_absent.class, ConditionClass::Refused { status: 501 });
    assert_eq!(refused.compare_and_swap.class, ConditionClass::Refused { status: 501 });
    let ignored = probe(kind(ConditionalPut::Ignored)).await;
    assert_eq!(ignored.put_if_absent.class, ConditionClass::Ignored);
    assert_eq!(ignored.compare_and_swap.class, ConditionClass::Ignored);
    for report in [refused, ignored] {
        assert_eq!(report.quirks(), Quirks::from([Quirk::NoIfNoneMatch, Quirk::NoIfMatch]));
        assert_eq!(report.tag_form, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_race_shows_what_is_not_atomic() {
    let report = probe(kind(ConditionalPut::NotAtomic)).await;
    let class = report.put_if_absent.class;
    assert!(matches!(class, ConditionClass::NotAtomic { winners: 2.. }), "{class}");
    assert!(report.quirks().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compare_and_swap_has_a_class_of_its_own() {
    let report = probe(Options { lacks: vec![Lack::IfMatch], ..Options::default() }).await;
    assert_eq!(report.put_if_absent.class, ConditionClass::Atomic);
    assert_eq!(report.compare_and_swap.class, ConditionClass::Ignored);
}

/// Goal: one writer races with nobody. Method: a server without a lock, and a client that sends one request at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_of_one_writer_tells_nothing() {
    let server = server(kind(ConditionalPut::NotAtomic)).await;
    let config = client(&server.endpoint(), clock()).config().clone();
    let config = config.with_limits(Limits::default().with_requests_in_flight(1).unwrap());
    let client = Client::builder(config).with_clock(clock()).with_seed(7).build().unwrap();
    let report = client.probe(&ProbeOptions::new()).await.unwrap();
    let classes = (report.put_if_absent.class, report.compare_and_swap.class);
    assert_eq!(classes, (ConditionClass::Unknown, ConditionClass::Unknown));
}

/// Goal: what is configured does not hide what the server does. Method: a client with every quirk there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirks_that_are_set_do_not_change_the_findings() {
    let server = server(Options::default()).await;
    let plain = client(&server.endpoint(), clock());
    let config: Config = plain.config().clone().with_quirks(Quirk::all().collect());
    let quirky = Client::builder(config).with_clock(clock()).with_seed(7).build().unwrap();
    let options = ProbeOptions::new();
    let (plain, quirky) = (plain.probe(&options).await.unwrap(), quirky.probe(&options).await.unwrap());
    assert_eq!(plain.tag_form, Some(TagForm::Quoted));
    assert_eq!(plain, quirky);
}
