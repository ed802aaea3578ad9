//! An object comes and goes.

use coldkeep_s3_client::{DeleteObject, GetObject, PutObject};

use crate::env::Env;

pub(crate) async fn an_object_comes_and_goes(env: Env) {
    let key = env.key("object");
    env.client().send(&PutObject::new(key.clone(), "content")).await.unwrap();
    let object = env.client().send(&GetObject::new(key.clone())).await.unwrap().into_value();
    assert_eq!(object.content, "content");
    env.client().send(&DeleteObject::new(key.clone())).await.unwrap();
    let error = env.client().send(&GetObject::new(key)).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
}
