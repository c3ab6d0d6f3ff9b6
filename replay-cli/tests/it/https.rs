//! A server behind TLS, as a balancer puts it there.

use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::server::{Server, annals};

/// Takes TLS off and hands on to `to`; its address, and its certificate in PEM.
async fn balancer(to: String) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                // A client that does not know the certificate breaks off.
                let Ok(mut inner) = acceptor.accept(stream).await else { return };
                let mut outer = TcpStream::connect(to).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut inner, &mut outer).await);
            });
        }
    });
    (format!("https://localhost:{port}"), made.cert.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_tls_is_spoken_to_if_its_certificate_is_known() {
    let server = Server::start();
    let (url, certificate) = balancer(server.url().trim_start_matches("http://").to_owned()).await;
    let files = tempfile::tempdir().unwrap();
    let (ca, none) = (files.path().join("ca.pem"), files.path().join("none.pem"));
    std::fs::write(&ca, certificate).unwrap();
    std::fs::write(&none, "nothing").unwrap();
    let query = |ca: &Path| server.run(&["query", "access.workspaces", "--url", &url, "--ca", ca.to_str().unwrap()]);
    query(&ca).exits(0);
    let send = ["command", "send", "access.workspace.create", "--payload", r#"{"name": "A", "slug": "a"}"#];
    let sent = annals(&server.data(), &send).env("ANNALS_URL", &url).env("ANNALS_CA", &ca).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let unknown = server.run(&["query", "--url", &url]).exits(2);
    assert!(unknown.stderr().contains("--ca"), "{}", unknown.stderr());
    assert!(query(&none).exits(2).stderr().contains("has no certificate in PEM"));
    assert!(query(&files.path().join("missing")).exits(2).stderr().contains("--ca: "));
}
