//! Transport and authentication (conversation.md §1 and §2).

use std::sync::Arc;

use http::Method;
use rustls_pki_types::ServerName;
use serde_json::json;

use super::{Command, S, TIME, checked};
use crate::harness::{PASSWORD, TestServer};
use crate::material::{BACKUP, READER, backup, backup_path, reader_path};
use crate::material::{Chunk, noise};
use crate::wire::{Auth, FORM, Wire};

#[tokio::test]
async fn tls_negotiates_no_protocol() {
    let server = TestServer::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = crate::wire::tls_config(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), None, "{version:?}");
        assert_eq!(session.protocol_version(), Some(version.version));
    }
}

#[tokio::test]
async fn login_renewal_and_logout() {
    let server = TestServer::start().await;
    server.user("test@pbs", "DatastoreBackup").await;
    let nobody = Wire::nobody(server.address);
    let body = json!({ "password": PASSWORD, "username": "test@pbs" });
    let answer = checked(nobody.post_json("//api2/json/access/ticket", &body).await);
    // As servers of 4.x, beside the data.
    assert_eq!((&answer.json()["status"], &answer.json()["success"]), (&json!(200), &json!(true)));
    let data = answer.data();
    assert_eq!(data["username"], "test@pbs");
    let (ticket, csrf) = (data["ticket"].as_str().unwrap(), data["CSRFPreventionToken"].as_str().unwrap());
    // PBS:user:hex time::signature, as clients take it apart.
    let (dated, signature) = ticket.split_once("::").unwrap();
    let (user, time) = dated.strip_prefix("PBS:").unwrap().rsplit_once(':').unwrap();
    assert_eq!(user.replace("%40", "@"), "test@pbs");
    let is_base64 = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_'))
    };
    let is_time = |text: &str| {
        text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    };
    assert!(is_time(time) && is_base64(signature), "{ticket}");
    let (csrf_time, csrf_rest) = csrf.split_once(':').unwrap();
    assert!(is_time(csrf_time) && is_base64(csrf_rest), "{csrf}");

    // The cookie as it is, and escaped as a whole; under its other name, which takes precedence.
    let escaped = super::in_path(ticket);
    for cookie in [
        format!("PBSAuthCookie={ticket}"),
        format!("PBSAuthCookie={escaped}"),
        format!("__Host-PBSAuthCookie={escaped}; PBSAuthCookie=old"),
    ] {
        let mut request = nobody.request(Method::GET, "/api2/json/version", FORM, bytes::Bytes::new());
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        checked(nobody.send(request).await).ok();
    }
    // A ticket in the place of the password, also as a form.
    let renewal = json!({ "password": ticket, "username": "test@pbs" });
    let renewed = checked(nobody.post_json("//api2/json/access/ticket", &renewal).await).data();
    assert_eq!(renewed["username"], "test@pbs");
    let form = format!("password={}&username=test%40pbs", super::form(PASSWORD));
    let request = nobody.request(Method::POST, "/api2/json/access/ticket", FORM, form.into());
    checked(nobody.send(request).await).ok();
    let of_another = json!({ "password": ticket, "username": "root@pam" });
    checked(nobody.post_json("//api2/json/access/ticket", &of_another).await).refused(401, "");

    // Everything but GET wants the CSRF token.
    let mut request = nobody.request(Method::POST, &format!("/api2/json/{S}/gc"), FORM, bytes::Bytes::new());
    request.headers_mut().insert("cookie", format!("PBSAuthCookie={ticket}").parse().unwrap());
    checked(nobody.send(request).await).refused(401, "missing CSRF");
}

#[tokio::test]
async fn a_browser_logs_in_with_a_cookie_that_scripts_cannot_read_and_out_again() {
    let server = TestServer::start().await;
    server.user("test@pbs", "DatastoreBackup").await;
    let nobody = Wire::nobody(server.address);
    let body = json!({ "password": PASSWORD, "username": "test@pbs", "http-only": true });
    let answer = checked(nobody.post_json("/api2/json/access/ticket", &body).await);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    let (value, rules) = cookie.split_once("; ").unwrap();
    assert_eq!(rules, "Secure; SameSite=Lax; HttpOnly; Path=/;");
    let ticket = value.strip_prefix("__Host-PBSAuthCookie=").unwrap();
    let data = answer.data();
    assert!(data.get("ticket").is_none(), "the ticket is told to scripts");
    // Without its signature, which alone makes it good.
    assert_eq!(data["ticket-info"], format!("{}::", ticket.split_once("::").unwrap().0));
    let mut request = nobody.request(Method::GET, "/api2/json/version", FORM, bytes::Bytes::new());
    request.headers_mut().insert("cookie", value.parse().unwrap());
    checked(nobody.send(request).await).ok();
    let answer = checked(nobody.delete("/api2/json/access/ticket").await);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-PBSAuthCookie=; ") && cookie.contains("Max-Age=0"), "{cookie}");
}

#[tokio::test]
async fn a_token_needs_no_login() {
    let server = TestServer::start().await;
    server.user("test@pbs", "DatastoreBackup").await;
    let identities = server.server.identities();
    let token = "test@pbs!tok1";
    let secret = identities.add_token(token.parse().unwrap(), None).await.unwrap();
    let entry =
        json!({"path": "/datastore/default", "who": token, "role": "DatastoreBackup", "propagate": true});
    identities.grant(serde_json::from_value(entry).unwrap()).await.unwrap();
    let nobody = Wire::nobody(server.address);
    let escaped = super::in_path(&secret);
    for header in [
        format!("PBSAPIToken {token}:{}", *secret),
        format!("PBSAPIToken={token}:{}", *secret),
        format!("PBSAPIToken {token}:{escaped}"),
    ] {
        let mut request =
            nobody.request(Method::GET, &format!("/api2/json/{S}/groups"), FORM, bytes::Bytes::new());
        request.headers_mut().insert("authorization", header.parse().unwrap());
        assert_eq!(checked(nobody.send(request).await).data(), json!([]));
    }
    // A space after the word, and neither cookie nor CSRF token, on upgrades and on POST.
    let wire = Wire { address: server.address, auth: Auth::Token(format!("{token}:{}", *secret)) };
    backup(&wire, "h1", TIME, &[&Chunk::of(noise(1, 100))]).await;
    wire.upgrade(&reader_path("h1", TIME), READER).await.unwrap();
    assert_eq!(wire.get(&format!("/api2/json/{S}/groups")).await.data()[0]["owner"], token);
    wire.post(&format!("/api2/json/{S}/gc")).await.refused(403, "/datastore/default");
    // The group is the token's, not its user's.
    let user = Wire::login(server.address, "test@pbs", PASSWORD).await;
    // Stock servers let a user act for its tokens: an owner "is a token of the calling user". A token is not its user.
    user.upgrade(&backup_path("h1", TIME + 1, ""), BACKUP).await.unwrap();
    backup(&user, "h2", TIME, &[&Chunk::of(noise(1, 100))]).await;
    wire.upgrade(&backup_path("h2", TIME + 1, ""), BACKUP).await.unwrap_err().refused(400, "owned by");
    wire.upgrade(&reader_path("h2", TIME), READER).await.unwrap_err().refused(400, "owner");
}

#[tokio::test]
async fn errors_are_plain_text() {
    let server = TestServer::start().await;
    let mut root = Command::root(&server).await;
    root.get("nosuch", &[]).await.refused(404, "nosuch");
    root.get(&format!("{S}/snapshots"), &[("nosuch", "1")]).await.refused(400, "nosuch");
    root.get("admin/datastore/nosuch/snapshots", &[]).await.refused(400, "nosuch");
    let nobody = Wire::nobody(server.address);
    checked(nobody.get("/api2/json/version").await).refused(401, "no credentials");
    // The connection is as good as before.
    root.get("version", &[]).await.ok();
}
