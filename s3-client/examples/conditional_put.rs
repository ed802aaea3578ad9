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
    CallOptions, Client, DeleteObject, ETag, Effect, GetObject, ObjectKey, PutCondition, PutNew, PutObject,
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

/// Has both clients do the same at the same time, each on a task of its own.
async fn both<W, T>([one, two]: &[Client; 2], work: impl Fn(Client, usize) -> W) -> Result<[T; 2], BoxError>
where
    W: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (one, two) = (tokio::spawn(work(one.clone(), 0)), tokio::spawn(work(two.clone(), 1)));
    Ok([one.await?, two.await?])
}

/// Both put the same new object, which must be written once.
async fn create(clients: &[Client; 2]) -> Result<(), BoxError> {
    let key = ObjectKey::new("coldkeep-example/create")?;
    let (mut once, mut twice) = (0, 0);
    for _ in 0..ROUNDS {
        clients[0].send(&DeleteObject::new(key.clone())).await?;
        let put = PutObject::new(key.clone(), "mine").if_absent();
        let put_once = |client: Client, _| {
            let put = put.clone();
            async move { client.send(&put).await }
        };
        match both(clients, put_once).await? {
            [Ok(_), Ok(_)] => twice += 1,
            [Ok(_), Err(refused)] | [Err(refused), Ok(_)] if refused.is_precondition_failed() => once += 1,
            // Not a contradiction: if an attempt got no answer, its repetition meets the object that it wrote itself.
            [Err(one), Err(two)] if one.is_precondition_failed() && two.is_precondition_failed() => once += 1,
            [Err(error), _] | [_, Err(error)] => return Err(error.into()),
        }
    }
    clients[0].send(&DeleteObject::new(key)).await?;
    println!("create   {once} times one winner, {twice} times two");
    if twice > 0 {
        println!(
            "         this server ignores `If-None-Match`, or looks before it locks: it makes no lock of it"
        );
    }
    Ok(())
}

/// Both put an object that is named by its content: writing it twice is harmless, failing is not.
async fn write(clients: &[Client; 2]) -> Result<(), BoxError> {
    let key = ObjectKey::new("coldkeep-example/write")?;
    let [mut created, mut already_there, mut overwritten] = [0; 3];
    for _ in 0..ROUNDS {
        clients[0].send(&DeleteObject::new(key.clone())).await?;
        let put = PutObject::new(key.clone(), "the content that this name stands for");
        let put_new = |client: Client, _| {
            let put = put.clone();
            async move { client.put_new_or_overwrite(&put, &CallOptions::new()).await }
        };
        for reply in both(clients, put_new).await? {
            match reply?.value {
                PutNew::Created(_) => created += 1,
                PutNew::AlreadyThere => already_there += 1,
                PutNew::Overwritten(_) => overwritten += 1,
                other => println!("         {other:?}"),
            }
        }
    }
    clients[0].send(&DeleteObject::new(key)).await?;
    println!("write    {created} created, {already_there} already there, {overwritten} overwritten");
    Ok(())
}

/// Each counts to ten in its own half of one object.
async fn count(clients: &[Client; 2]) -> Result<(), BoxError> {
    let key = ObjectKey::new("coldkeep-example/count")?;
    clients[0].send(&PutObject::new(key.clone(), "0 0")).await?;
    let count_half = |client: Client, mine| {
        let key = key.clone();
        async move { count_one(&client, &key, mine).await }
    };
    let [left, right] = both(clients, count_half).await?;
    let (left, right) = (left?, right?);
    let (counts, _) = read(&clients[0], &key).await?;
    clients[0].send(&DeleteObject::new(key)).await?;
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
