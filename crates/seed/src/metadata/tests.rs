//! The routes without a socket; time is the test's.

use std::sync::Mutex;

use super::*;
use tower::ServiceExt;

/// Documents of one server, whose text is its tag.
pub(crate) struct Shelf {
    pub(crate) text: tokio::sync::watch::Sender<String>,
    reports: Mutex<Vec<serde_json::Value>>,
}

impl Shelf {
    pub(crate) fn new(text: &str) -> Arc<Shelf> {
        let (text, _) = tokio::sync::watch::channel(text.to_owned());
        let reports = Mutex::default();
        Arc::new(Shelf { text, reports })
    }

    fn now(&self) -> Document {
        let text = self.text.borrow().clone();
        let etag = format!("\"{text}\"");
        Document {
            etag,
            text: text.into(),
        }
    }
}

#[async_trait]
impl Nodes for Shelf {
    async fn admits(&self, server: &str, secret: &str) -> Result<bool, NodesError> {
        Ok(server == "one" && secret == "sesame")
    }

    async fn document(&self, _server: &str) -> Result<Document, NodesError> {
        Ok(self.now())
    }

    async fn changed(
        &self,
        _server: &str,
        etag: &str,
        wait: Duration,
    ) -> Result<Option<Document>, NodesError> {
        let mut changes = self.text.subscribe();
        let changed = changes.wait_for(|text| format!("\"{text}\"") != etag);
        let changed = tokio::time::timeout(wait, changed).await.is_ok();
        Ok(changed.then(|| self.now()))
    }

    async fn report(&self, _server: &str, report: serde_json::Value) -> Result<(), NodesError> {
        self.reports.lock().unwrap().push(report);
        Ok(())
    }
}

struct Lab {
    shelf: Arc<Shelf>,
    stop: CancellationToken,
    router: Router,
}

/// A reply, as far as these tests look at it.
#[derive(Debug)]
struct Seen {
    status: u16,
    etag: String,
    text: String,
}

impl Lab {
    fn new() -> Lab {
        let shelf = Shelf::new("1");
        let stop = CancellationToken::new();
        let router = Metadata::new(Arc::clone(&shelf) as _, stop.clone()).router();
        Lab {
            shelf,
            stop,
            router,
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Seen {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let reply = self.router.clone().oneshot(request).await.unwrap();
        let etag = reply
            .headers()
            .get("etag")
            .map(|tag| tag.to_str().unwrap().to_owned());
        let status = reply.status().as_u16();
        let text = to_bytes(reply.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        Seen {
            status,
            etag: etag.unwrap_or_default(),
            text,
        }
    }

    async fn held(&self) -> Seen {
        let headers = [("If-None-Match", "\"1\""), ("Prefer", "wait=300")];
        self.ask("GET", "/one/sesame", &headers, "").await
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_comes_with_its_tag_and_only_for_its_secret() {
    let lab = Lab::new();
    let seen = lab.ask("GET", "/one/sesame", &[], "").await;
    assert_eq!((seen.status, &*seen.etag, &*seen.text), (200, "\"1\"", "1"));
    for path in [
        "/one/other",
        "/two/sesame",
        "/one",
        "/",
        "/one/sesame/x",
        "/one/sesame/report/x",
    ] {
        assert_eq!(lab.ask("GET", path, &[], "").await.status, 404, "{path}");
    }
    assert_eq!(lab.ask("PUT", "/one/sesame", &[], "").await.status, 405);
    assert_eq!(
        lab.ask("GET", "/one/sesame/report", &[], "").await.status,
        405
    );
}

#[tokio::test(start_paused = true)]
async fn a_known_document_is_held_until_it_changes() {
    let lab = Lab::new();
    let began = Instant::now();
    let change = async {
        tokio::time::sleep(Duration::from_secs(200)).await;
        lab.shelf.text.send_replace("2".to_owned());
    };
    let (seen, ()) = tokio::join!(lab.held(), change);
    assert_eq!((seen.status, &*seen.text), (200, "2"));
    assert_eq!(began.elapsed().as_secs(), 200);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_change_is_said_so_in_the_end() {
    let lab = Lab::new();
    let began = Instant::now();
    let seen = lab.held().await;
    assert_eq!((seen.status, &*seen.etag), (304, "\"1\""));
    assert_eq!(began.elapsed().as_secs(), 300);
    let tag = [("If-None-Match", "\"1\"")];
    assert_eq!(lab.ask("GET", "/one/sesame", &tag, "").await.status, 304);
    let head = [("If-None-Match", "\"1\""), ("Prefer", "wait=300")];
    assert_eq!(lab.ask("HEAD", "/one/sesame", &head, "").await.status, 200);
    assert_eq!(began.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_answers_held_requests() {
    let lab = Lab::new();
    let began = Instant::now();
    let (seen, ()) = tokio::join!(lab.held(), async { lab.stop.cancel() });
    assert_eq!((seen.status, began.elapsed().as_secs()), (304, 0));
}

#[tokio::test(start_paused = true)]
async fn reports_are_kept() {
    let lab = Lab::new();
    let post = async |body: &str| {
        lab.ask("POST", "/one/sesame/report", &[], body)
            .await
            .status
    };
    assert_eq!(post(r#"{"generation": 3, "exit_code": 1}"#).await, 204);
    assert_eq!(lab.shelf.reports.lock().unwrap()[0]["generation"], 3);
    assert_eq!(post("[1]").await, 400);
    assert_eq!(post(&"x".repeat(REPORT_LIMIT + 1)).await, 413);
}

#[test]
fn preferences_are_read() {
    assert_eq!(wait_of("wait=5"), Some(Duration::from_secs(5)));
    assert_eq!(
        wait_of("respond-async, wait=10"),
        Some(Duration::from_secs(10))
    );
    assert_eq!(wait_of("handling=lenient"), None);
    assert_eq!(wait_of("wait=soon"), None);
}
