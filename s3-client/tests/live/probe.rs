//! The probe finds what the table of servers says.

use coldkeep_s3_client::probe::{
    BucketVersions, ConditionClass, Found, MultiDelete, Presigning, ProbeOptions, Ranges, SignatureWindow,
    TagForm, Verification,
};
use coldkeep_s3_client::{Quirk, Quirks};

use crate::env::Env;

/// Goal: what the probe reports of a server agrees with what this suite, or a person, saw of it.
/// Method: each finding that has a capability in the table is compared with it; a lack that the table forgot fails here, too.
pub(crate) async fn it_finds_what_the_table_says(env: Env) {
    let options = ProbeOptions::new().with_prefix(&env.key_prefix()).unwrap();
    let mut report = env.client().probe(&options).await.unwrap();
    for _ in 0..2 {
        // An error of the server in the middle of a trial leaves it open: radosgw answers racing writers so now and then.
        if report.compare_and_swap.class == ConditionClass::Unknown {
            report = env.client().probe(&options).await.unwrap();
        }
    }
    println!("{report}");
    assert!(report.is_complete);
    assert_eq!(report.remains, Vec::<String>::new());

    let class = report.put_if_absent.class;
    match class {
        ConditionClass::Atomic => assert!(env.has("conditional-put"), "{class:?}"),
        ConditionClass::NotAtomic { .. } => {
            assert!(env.has("conditional-put") && !env.has("conditional-put-atomic"), "{class:?}");
        }
        _ => assert!(is_useless(class) && !env.has("conditional-put"), "{class:?}"),
    }
    let class = report.compare_and_swap.class;
    assert_eq!(is_useless(class), !env.has("conditional-swap"), "{class:?}");
    if env.has("conditional-swap") {
        let form = if env.has("if-match-quoted") { TagForm::Quoted } else { TagForm::Unquoted };
        assert_eq!(report.tag_form, Some(form));
    }
    assert_eq!(report.deletes.multi, MultiDelete::Works);

    verifies(&env, report.integrity.payload_hash, "payload-hash-check");
    verifies(&env, report.integrity.crc32c, "checksum-check");
    verifies(&env, report.integrity.sha256, "checksum-check");
    assert_eq!(report.integrity.crc32c_returned == Found::Yes, env.has("checksums"));

    for age in [&report.signatures.read, &report.signatures.put, &report.signatures.delete] {
        let is_bounded = matches!(age.behind, SignatureWindow::Bounded { .. });
        assert_eq!(is_bounded, env.has("date-check"), "{age:?}");
    }
    let presigned = report.signatures.multi_delete.presigned;
    match presigned {
        Presigning::Enforced { .. } => assert!(env.has("presign") && env.has("presign-expiry")),
        Presigning::NotEnforced => assert!(env.has("presign") && !env.has("presign-expiry")),
        _ => assert!(!env.has("presign"), "{presigned:?}"),
    }

    assert_eq!(report.odd_keys.is_empty(), env.has("odd-keys"), "{:?}", report.odd_keys);
    let ranges = if env.has("range-206") { Ranges::Partial } else { Ranges::Whole };
    assert_eq!(report.reading.ranges, ranges);
    if env.has("versioning") && env.has("own-buckets") {
        assert_eq!(report.bucket.versions, BucketVersions::Off);
    }

    // What the address needs is no finding.
    let is_found = |quirk: &Quirk| *quirk != Quirk::PathOnly;
    let needed: Quirks = env.config().quirks().iter().filter(is_found).collect();
    assert_eq!(report.quirks(), needed);
}

fn is_useless(class: ConditionClass) -> bool {
    matches!(class, ConditionClass::Ignored | ConditionClass::Refused { .. })
}

fn verifies(env: &Env, found: Verification, capability: &str) {
    let expected = match (env.has(capability), env.has("refused-put-stores-nothing")) {
        (true, true) => found == Verification::Verified,
        // Refused with or without the object.
        (true, false) => matches!(found, Verification::Verified | Verification::StoredAnyway),
        (false, _) => found == Verification::Ignored,
    };
    assert!(expected, "{capability}: {found:?}");
}
