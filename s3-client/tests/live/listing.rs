//! ListObjectsV2. The order of keys is nothing to rely on outside of AWS, so none of these tests does.

use std::collections::BTreeSet;

use coldkeep_s3_client::HeadObject;
use coldkeep_s3_client::ops::{ListObjectsV2, ListedObject, ObjectPage};

use crate::env::Env;
use crate::many;

pub(crate) async fn pages_hold_each_key_once(env: Env) {
    const KEYS: usize = 2500;
    let names: Vec<_> = (0..KEYS).map(|number| format!("{number:04x}")).collect();
    put(&env, &names).await;
    let mut listing = env.client().list(ListObjectsV2::new().with_prefix(&env.key_prefix()));
    let (mut found, mut pages) = (Vec::new(), 0);
    while let Some(page) = listing.next_page().await.unwrap() {
        pages += 1;
        found.extend(page.value.objects);
    }
    // A server may send longer pages than the API has.
    assert!(pages >= 1);
    assert_eq!(found.len(), KEYS, "in {pages} pages");
    assert_names(&env, &found, names.iter().map(String::as_str));
    for object in &found {
        assert_eq!(object.size_bytes, 4, "{object:?}");
    }
}

pub(crate) async fn pages_are_as_short_as_asked(env: Env) {
    let names: Vec<_> = (0..25).map(|number| format!("{number:02}")).collect();
    put(&env, &names).await;
    let list = ListObjectsV2::new().with_prefix(&env.key_prefix()).with_keys_max(10);
    let mut listing = env.client().list(list);
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    while let Some(page) = listing.next_page().await.unwrap() {
        sizes.push(page.value.objects.len());
        found.extend(page.value.objects);
    }
    assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
    assert_eq!(found.len(), 25, "{sizes:?}");
    assert_names(&env, &found, names.iter().map(String::as_str));
}

pub(crate) async fn a_page_of_exactly_all_keys_is_the_last(env: Env) {
    put(&env, &["a", "b", "c"]).await;
    let list = ListObjectsV2::new().with_prefix(&env.key_prefix()).with_keys_max(3);
    let mut listing = env.client().list(list);
    let mut found = Vec::new();
    while let Some(object) = listing.next_object().await.unwrap() {
        found.push(object);
    }
    assert_eq!(found.len(), 3);
    assert_names(&env, &found, ["a", "b", "c"]);
}

pub(crate) async fn nothing_is_an_empty_page(env: Env) {
    let page = list(&env, "", |list| list).await;
    assert_eq!((page.objects, page.common_prefixes, page.next), (vec![], vec![], None));
}

pub(crate) async fn a_prefix_is_no_folder(env: Env) {
    put(&env, &["vm/10/a", "vm/100/a", "vm/101/b", "vm/2/c", "vn/10/a"]).await;
    let page = list(&env, "vm/10", |list| list).await;
    assert_names(&env, &page.objects, ["vm/10/a", "vm/100/a", "vm/101/b"]);
    let page = list(&env, "vm/10/", |list| list).await;
    assert_names(&env, &page.objects, ["vm/10/a"]);
    let page = list(&env, "vm/10/a", |list| list).await;
    assert_names(&env, &page.objects, ["vm/10/a"]);
    let page = list(&env, "vm/10/a/", |list| list).await;
    assert_names(&env, &page.objects, []);
}

pub(crate) async fn a_delimiter_rolls_keys_up(env: Env) {
    put(&env, &["a", "d/x", "d/y", "e/f/z"]).await;
    let page = list(&env, "", |list| list.with_delimiter("/")).await;
    assert_names(&env, &page.objects, ["a"]);
    let prefixes: BTreeSet<_> = page.common_prefixes.into_iter().collect();
    let root = env.key_prefix();
    assert_eq!(prefixes, BTreeSet::from([format!("{root}d/"), format!("{root}e/")]));
    let page = list(&env, "e/", |list| list.with_delimiter("/")).await;
    assert!(page.objects.is_empty(), "{page:?}");
    assert_eq!(page.common_prefixes, [format!("{root}e/f/")]);
}

pub(crate) async fn rolled_up_keys_come_in_pages_too(env: Env) {
    let names: Vec<_> = (0..12).map(|number| format!("{number:02}/x")).collect();
    put(&env, &names).await;
    let list = ListObjectsV2::new().with_prefix(&env.key_prefix()).with_delimiter("/").with_keys_max(5);
    let mut listing = env.client().list(list);
    let mut prefixes = Vec::new();
    while let Some(page) = listing.next_page().await.unwrap() {
        assert!(page.value.objects.is_empty(), "{page:?}");
        prefixes.extend(page.value.common_prefixes);
    }
    prefixes.sort();
    let root = env.key_prefix();
    let expected: Vec<_> = (0..12).map(|number| format!("{root}{number:02}/")).collect();
    assert_eq!(prefixes, expected);
}

pub(crate) async fn start_after_leaves_out_what_comes_before(env: Env) {
    put(&env, &["a", "b", "c", "d"]).await;
    let after = env.key("b");
    let page = list(&env, "", |list| list.with_start_after(after.as_str())).await;
    assert_names(&env, &page.objects, ["c", "d"]);
    let between = env.key("bb");
    let page = list(&env, "", |list| list.with_start_after(between.as_str())).await;
    assert_names(&env, &page.objects, ["c", "d"]);
}

pub(crate) async fn a_listed_object_comes_with_its_facts(env: Env) {
    let key = env.put("object", "content").await;
    let page = list(&env, "", ListObjectsV2::with_owner).await;
    let [object] = &page.objects[..] else { panic!("{page:?}") };
    let meta = env.client().send(&HeadObject::new(key.clone())).await.unwrap().into_value();
    assert_eq!((&object.key, object.size_bytes), (&key, 7));
    if object.etag.is_some() {
        assert_eq!(object.etag, meta.etag);
    }
    let listed = object.last_modified.expect("servers tell when");
    // Headers have whole seconds, listings may have milliseconds; one server rounds up.
    let apart = meta.last_modified.unwrap().duration_since(listed);
    let apart = apart.unwrap_or_else(|error| error.duration());
    assert!(apart.as_secs() < 2, "{object:?} {meta:?}");
}

async fn put(env: &Env, names: &[impl AsRef<str> + Sync]) {
    many::all(names.iter().map(|name| env.put(name.as_ref(), name.as_ref().to_owned()))).await;
}

/// One page of what is below `prefix` of the test.
async fn list(env: &Env, prefix: &str, with: impl FnOnce(ListObjectsV2) -> ListObjectsV2) -> ObjectPage {
    let prefix = format!("{}{prefix}", env.key_prefix());
    env.client().send(&with(ListObjectsV2::new().with_prefix(&prefix))).await.unwrap().into_value()
}

fn assert_names<'n>(env: &Env, objects: &[ListedObject], names: impl IntoIterator<Item = &'n str>) {
    let found: BTreeSet<_> = objects.iter().map(|object| object.key.clone()).collect();
    let expected: BTreeSet<_> = names.into_iter().map(|name| env.key(name)).collect();
    assert_eq!(found.len(), objects.len(), "a key is listed twice");
    assert_eq!(found, expected);
}
