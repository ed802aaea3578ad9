use std::os::unix::fs::PermissionsExt;

use super::*;

fn id(text: &str) -> AuthId {
    text.parse().unwrap()
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn open(folder: &std::path::Path) -> (DataDir, Identities) {
    let data_dir = DataDir::open(folder).unwrap();
    let identities = Identities::open(&data_dir, PasswordHasher::new()).unwrap();
    (data_dir, identities)
}

#[tokio::test]
async fn the_administrator_is_made_once_with_a_password_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, identities) = open(folder.path());
    let password = identities.ensure_administrator().await.unwrap().unwrap();
    assert!(identities.ensure_administrator().await.unwrap().is_none());
    drop((data_dir, identities));
    let (data_dir, identities) = open(folder.path());
    assert!(identities.ensure_administrator().await.unwrap().is_none());
    assert!(identities.check_password(&root(), password, 0).await.unwrap().is_some());
    let mode = std::fs::metadata(data_dir.config("users.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(data_dir.config("users.json")).unwrap();
    assert!(text.contains("$argon2id$"));
}

#[tokio::test]
async fn removing_a_user_removes_tokens_and_rights() {
    let folder = tempfile::tempdir().unwrap();
    let (_data_dir, identities) = open(folder.path());
    identities.add_user(id("al@pbs"), secret("password"), None).await.unwrap();
    identities.add_token(id("al@pbs!tok"), None).await.unwrap();
    let path: AclPath = "/datastore/s1".parse().unwrap();
    for who in ["al@pbs", "al@pbs!tok"] {
        let entry = AclEntry { path: path.clone(), who: id(who), role: Role::Audit, propagate: true };
        identities.grant(entry).await.unwrap();
    }
    assert!(!identities.acl().privileges(&id("al@pbs!tok"), &path).is_empty());
    identities.remove_user(&id("al@pbs")).await.unwrap();
    assert!(!identities.exists(&id("al@pbs!tok")));
    assert_eq!(identities.acl().entries().count(), 0);
}

#[tokio::test]
async fn tokens_end_with_their_validity_and_that_of_their_user() {
    let folder = tempfile::tempdir().unwrap();
    let (_data_dir, identities) = open(folder.path());
    let (user, token) = (id("al@pbs"), id("al@pbs!tok"));
    identities.add_user(user.clone(), secret("password"), None).await.unwrap();
    identities.add_token(token.clone(), None).await.unwrap();
    assert!(identities.active_token(&token, 5).is_some());
    identities.set_validity(&token, true, Some(5)).await.unwrap();
    assert!(identities.active_token(&token, 4).is_some() && identities.active_token(&token, 5).is_none());
    identities.set_validity(&token, true, None).await.unwrap();
    identities.set_validity(&user, false, None).await.unwrap();
    assert!(identities.active_token(&token, 4).is_none());
    assert!(identities.check_password(&user, secret("password"), 4).await.unwrap().is_none());
}

#[tokio::test]
async fn impossible_changes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_data_dir, identities) = open(folder.path());
    identities.ensure_administrator().await.unwrap();
    let (path, nobody) = ("/".parse::<AclPath>().unwrap(), id("no@pbs"));
    let entry = AclEntry { path: path.clone(), who: nobody.clone(), role: Role::Admin, propagate: true };
    assert!(matches!(identities.grant(entry).await, Err(IdentityError::Unknown { .. })));
    assert!(matches!(
        identities.revoke(&path, &nobody, Role::Admin).await,
        Err(IdentityError::NoEntry { .. })
    ));
    assert!(matches!(identities.remove_user(&root()).await, Err(IdentityError::Root)));
    assert!(matches!(identities.set_validity(&root(), false, None).await, Err(IdentityError::Root)));
    assert!(matches!(identities.remove_user(&nobody).await, Err(IdentityError::Unknown { .. })));
    assert!(matches!(identities.remove_token(&id("no@pbs!tok")).await, Err(IdentityError::Unknown { .. })));
    assert!(matches!(identities.add_token(id("no@pbs!tok"), None).await, Err(IdentityError::Unknown { .. })));
    assert!(matches!(identities.add_token(nobody.clone(), None).await, Err(IdentityError::Kind { .. })));
    assert!(matches!(
        identities.set_password(&nobody, secret("password")).await,
        Err(IdentityError::Unknown { .. })
    ));
    assert!(matches!(
        identities.add_user(root(), secret("password"), None).await,
        Err(IdentityError::Exists { .. })
    ));
    assert!(matches!(
        identities.add_user(nobody, secret("short"), None).await,
        Err(IdentityError::ShortPassword)
    ));
}
