use super::*;
use crate::testing::MemoryDir;

fn digest(number: u8) -> Digest {
    Digest::of(&[number])
}

fn at(seconds: i64) -> StoreTime {
    StoreTime::from_unix(seconds, 0)
}

fn entered(journal: &Journal, numbers: &[u8], expires_at: StoreTime) -> EntryId {
    let digests: Vec<_> = numbers.iter().map(|number| digest(*number)).collect();
    assert!(digests.iter().all(|digest| journal.condemn(digest)));
    journal.enter(&digests, expires_at, "token".to_owned()).unwrap().0
}

#[tokio::test]
async fn what_was_saved_is_read_again_and_comes_back_in_limbo() {
    let dir = MemoryDir::new();
    let journal = Journal::default();
    entered(&journal, &[1, 2], at(100));
    let other = entered(&journal, &[3], at(200));
    journal.put_in_limbo(other);
    journal.claim_path(".cnt/vm/100/a").unwrap();
    journal.claim_path(".cnt/vm/100/b").unwrap();
    journal.release_path(".cnt/vm/100/b", Some(at(150)));
    journal.save(&dir).await.unwrap();

    let read = Journal::load(&dir).await.unwrap();
    assert_eq!(read.limbo_of(&digest(1)), None);
    assert_eq!(read.limbo_of(&digest(3)), Some(at(200)));
    let mut digests = read.replay(at(500));
    digests.sort_unstable();
    let mut expected = vec![digest(1), digest(2), digest(3)];
    expected.sort_unstable();
    assert_eq!(digests, expected);
    assert_eq!(read.limbo_of(&digest(1)), Some(at(100)));
    let closed = |path: &str, until| (path.to_owned(), PathState::Closed(at(until)));
    assert_eq!(read.claim_path(".cnt/vm/100/a"), Err(closed(".cnt/vm/100/a", 500)));
    assert_eq!(read.claim_path(".cnt/vm/100/b"), Err(closed(".cnt/vm/100/b", 150)));
}

#[tokio::test]
async fn a_damaged_file_is_an_error() {
    let dir = MemoryDir::new();
    let journal = Journal::default();
    entered(&journal, &[1], at(100));
    journal.claim_path("a").unwrap();
    journal.save(&dir).await.unwrap();
    let good = dir.load_state(StateFile::Journal).await.unwrap().unwrap();
    assert!(format::decode(&good).is_ok());
    for cut in 0..good.len() {
        assert_eq!(format::decode(&good[..cut]), Err(JournalError), "cut at {cut}");
        let mut bad = good.to_vec();
        bad[cut] ^= 1;
        assert_eq!(format::decode(&bad), Err(JournalError), "flipped at {cut}");
    }
}

#[test]
fn a_condemned_digest_is_taken_out_of_its_batch_and_a_journalled_one_is_not() {
    let journal = Journal::default();
    assert!(journal.condemn(&digest(1)) && journal.condemn(&digest(2)));
    assert!(!journal.condemn(&digest(1)), "condemned twice");
    assert_eq!(journal.rescue(&digest(1)), Standing::Free);
    let (id, entered) = journal.enter(&[digest(1), digest(2)], at(100), String::new()).unwrap();
    assert_eq!(entered, BTreeSet::from([digest(2)]));
    assert_eq!(journal.rescue(&digest(2)), Standing::Journalled);
    assert!(!journal.condemn(&digest(2)));
    journal.settle(id, None);
    assert_eq!(journal.standing(&digest(2)), Standing::Free);
    assert!(journal.enter(&[digest(2)], at(100), String::new()).is_none());
}

#[test]
fn an_upload_knows_that_its_digest_was_journalled_meanwhile() {
    let journal = Journal::default();
    let (one, other) = (journal.watch_upload(digest(1)), journal.watch_upload(digest(2)));
    let id = entered(&journal, &[1], at(100));
    journal.settle(id, None);
    assert!(one.was_journalled() && !other.was_journalled());
    assert!(!journal.watch_upload(digest(1)).was_journalled());
}

#[test]
fn limbo_ends_when_the_expiry_and_the_margin_have_passed_and_nothing_else_does() {
    let journal = Journal::default();
    let margin = Duration::from_mins(1);
    let (unclear, open) = (entered(&journal, &[1, 2], at(100)), entered(&journal, &[3], at(100)));
    journal.settle(unclear, Some(&BTreeSet::from([digest(1)])));
    assert_eq!(journal.standing(&digest(1)), Standing::Free);
    journal.put_in_limbo(unclear);
    assert!(!journal.expire(at(160), margin));
    assert_eq!(journal.standing(&digest(2)), Standing::Journalled);
    assert!(journal.expire(at(161), margin));
    assert_eq!(journal.standing(&digest(2)), Standing::Free);
    // Its deletes are under way: their outcome decides, not the time.
    assert_eq!(journal.standing(&digest(3)), Standing::Journalled);
    journal.settle(open, None);
    assert_eq!(journal.counts(), JournalCounts::default());
}

#[test]
fn a_path_is_claimed_once_and_so_is_what_lies_inside_and_around_it() {
    let journal = Journal::default();
    journal.claim_path("vm/100/a").unwrap();
    for path in ["vm/100/a", "vm/100", "vm/100/a/file"] {
        assert_eq!(journal.claim_path(path), Err(("vm/100/a".to_owned(), PathState::Claimed)), "{path}");
    }
    journal.claim_path("vm/100/ab").unwrap();
    journal.release_path("vm/100/a", Some(at(10)));
    assert!(journal.claim_path("vm/100/a").is_err());
    assert!(journal.expire(at(20), Duration::ZERO));
    journal.claim_path("vm/100/a").unwrap();
}

#[test]
fn a_file_that_names_a_digest_twice_is_damaged() {
    let entry = |numbers: &[u8], expires_at| Entry {
        digests: numbers.iter().map(|number| digest(*number)).collect(),
        expires_at,
        token: "token".to_owned(),
        in_limbo: true,
    };
    // Else the first of two expiries would free a digest that the other entry's delete may still hit (R9).
    let twice = format::encode([entry(&[1, 2], at(200)), entry(&[2], at(100))].iter(), &BTreeMap::new());
    assert!(Journal::parse(&twice).is_err());
    let once = format::encode([entry(&[1, 2], at(200)), entry(&[3], at(100))].iter(), &BTreeMap::new());
    assert_eq!(Journal::parse(&once).unwrap().counts().in_limbo, 3);
}
