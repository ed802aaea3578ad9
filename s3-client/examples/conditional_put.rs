//! Two clients write the same objects at once: `conditional_put`
//!
//! Which server, which bucket and as whom stands in the environment; see `connect/mod.rs`, or run it without. Three ways to meet:
//!
//! 1. Both create one object with `If-None-Match: *`. Where the server keeps to it, one is refused.
//! 2. Both write one object with [`Client::put_new_or_overwrite`]. Neither fails, whatever the server does.
//! 3. Both count in one object, by compare-and-swap with `If-Match`. No count is lost, or the server does not compare.

mod connect;

use std::process::ExitCode;

use coldkeep_s3_client::{
    Client, DeleteObject, ETag, Effect, GetObject, ObjectKey, PutCondition, PutNew, PutObject,
};
use connect::BoxError;

/// How often each way is gone.
const ROUNDS: u32 = 10;
/// Far more tries than two clients need to count to ten in turns.
const TRIES_MAX: u32 = 1000;

#[tokio::main]
async fn main() -> ExitCode {
    connect::finish(run().await)
}

async fn run() -> Result<(), BoxError> {
    // Two clients, not clones of one: they share no connections, no limits and no retry budget.
    let clients = [connect::client()?, connect::client()?];
    create(&clients).await?;
    write(&clients).await?;
    count(&clients).await
}

/// Both put the same new object, which must be written once.
async fn create([one, two]: &[Client; 2]) -> Result<(), BoxError> {
    let key = ObjectKey::new("coldkeep-example/create")?;
    let (mut once, mut twice) = (0, 0);
    for _ in 0..ROUNDS {
        one.send(&DeleteObject::new(key.clone())).await?;
        let put = PutObject::new(key.clone(), "mine").if_absent();
        match tokio::join!(one.send(&put), two.send(&put)) {
            (Ok(_), Ok(_)) => twice += 1,
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) if refused.is_precondition_failed() => once += 1,
            // Not a contradiction: if an attempt got no answer, its repetition meets the object that it wrote itself.
            (Err(one), Err(two)) if one.is_precondition_failed() && two.is_precondition_failed() => once += 1,
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        }
    }
    one.send(&DeleteObject::new(key)).await?;
    println!("create   {once} times one winner, {twice} times two");
    if twice > 0 {
        println!(
            "         this server ignores `If-None-Match`, or looks before it locks: it makes no lock of it"
        );
    }
    Ok(())
}

/// Both put an object that is named by its content: writing it twice is harmless, failing is not.
async fn write([one, two]: &[Client; 2]) -> Result<(), BoxError> {
    let key = ObjectKey::new("coldkeep-example/write")?;
    let [mut created, mut already_there, mut overwritten] = [0; 3];
    for _ in 0..ROUNDS {
        one.send(&DeleteObject::new(key.clone())).await?;
        let put = PutObject::new(key.clone(), "the content that this name stands for");
        let options = Default::default();
        let (one, two) =
            tokio::join!(one.put_new_or_overwrite(&put, &options), two.put_new_or_overwrite(&put, &options));
        for reply in [one?, two?] {
            match reply.value {
                PutNew::Created(_) => created += 1,
                PutNew::AlreadyThere => already_there += 1,
                PutNew::Overwritten(_) => overwritten += 1,
                other => println!("         {other:?}"),
            }
        }
    }
    one.send(&DeleteObject::new(key)).await?;
    println!("write    {created} created, {already_there} already there, {overwritten} overwritten");
    Ok(())
}

/// Each counts to ten in its own half of one object.
async fn count([one, two]: &[Client; 2]) -> Result<(), BoxError> {
    let key = ObjectKey::new("coldkeep-example/count")?;
    one.send(&PutObject::new(key.clone(), "0 0")).await?;
    let (left, right) = tokio::join!(count_one(one, &key, 0), count_one(two, &key, 1));
    let (left, right) = (left?, right?);
    let (counts, _) = read(one, &key).await?;
    one.send(&DeleteObject::new(key)).await?;
    let tries = [left.tries, right.tries];
    println!("count    {counts:?}, in {tries:?} tries; updates lost: {}", left.lost + right.lost);
    if counts != [ROUNDS; 2] || left.lost + right.lost > 0 {
        println!("         this server ignores `If-Match`, or does not compare and write in one step");
    }
    Ok(())
}

struct Counted {
    tries: u32,
    lost: u32,
}

async fn count_one(client: &Client, key: &ObjectKey, mine: usize) -> Result<Counted, BoxError> {
    let mut counted = Counted { tries: 0, lost: 0 };
    for target in 1..=ROUNDS {
        loop {
            let (mut counts, etag) = read(client, key).await?;
            // Whatever became of an attempt without an answer: nobody else writes this half, so here it shows.
            if counts[mine] == target {
                break;
            }
            if counts[mine] + 1 < target {
                counted.lost += 1;
            }
            counts[mine] = target;
            counted.tries += 1;
            if counted.tries > TRIES_MAX {
                return Err(
                    "the object's tag never matches; the server may need the quirk `unquoted-if-match`"
                        .into(),
                );
            }
            let put = PutObject::new(key.clone(), format!("{} {}", counts[0], counts[1]));
            match client.send(&put.with_condition(PutCondition::IfMatch(etag))).await {
                Ok(_) => break,
                // Refused: the other one was faster. Unclear: read again, and see.
                Err(error) if error.is_precondition_failed() || error.outcome().effect() != Effect::None => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(counted)
}

async fn read(client: &Client, key: &ObjectKey) -> Result<([u32; 2], ETag), BoxError> {
    let object = client.send(&GetObject::new(key.clone())).await?.into_value();
    let text = std::str::from_utf8(&object.content)?;
    let (left, right) = text.split_once(' ').ok_or("somebody else writes this object")?;
    let etag = object.meta.etag.ok_or("the server sends no `ETag`")?;
    Ok(([left.parse()?, right.parse()?], etag))
}
