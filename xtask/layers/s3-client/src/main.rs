//! The S3 client alone, over a transport of its caller's: an object is put and comes back.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use coldkeep_s3_client::transport::{Transport, TransportError};
use coldkeep_s3_client::{
    Client, Config, Credentials, GetObject, ObjectKey, PutObject, RequestBody, ResponseBody,
};
use http::{Method, Request, Response};

/// A server that keeps what it is given, by path.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<String, Bytes>>);

impl Transport for Shelf {
    async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, TransportError> {
        let (head, mut body) = request.into_parts();
        assert!(head.headers.contains_key("authorization"), "requests are signed");
        let mut content = BytesMut::new();
        while let Some(piece) = poll_fn(|context| body.poll_piece(context)).await {
            content.extend_from_slice(&piece);
        }
        let mut shelf = self.0.lock().map_err(|_| unclear())?;
        let path = head.uri.path().to_owned();
        let answer = match head.method {
            Method::PUT => {
                shelf.insert(path, content.freeze());
                Bytes::new()
            }
            _ => shelf.get(&path).cloned().ok_or_else(unclear)?,
        };
        let response = Response::builder().header("content-length", answer.len()).header("etag", "\"1\"");
        response.body(ResponseBody::from(answer)).map_err(|_| unclear())
    }
}

fn unclear() -> TransportError {
    TransportError::Unclear { source: io::ErrorKind::Other.into() }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::new(
        "http://s3.example".parse()?,
        "eu-central-1".parse()?,
        "bucket".parse()?,
        Credentials::new("AKIDEXAMPLE", "a secret key")?,
    )?;
    let client = Client::builder(config).build_with(Shelf::default());
    let key = ObjectKey::new("a key")?;
    client.send(&PutObject::new(key.clone(), "some content")).await?;
    let object = client.send(&GetObject::new(key)).await?.into_value();
    assert_eq!(object.content, "some content");
    Ok(())
}
