//! A metadata server for tests: versions, held requests, reports. It speaks as much HTTP as that takes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Nothing in a test takes this long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    version: u64,
    document: String,
    /// Whether requests are held and versions named.
    holds: bool,
    /// Status for reports.
    report_status: u16,
    requests: Vec<String>,
    held: usize,
    reports: Vec<String>,
    signals: Vec<String>,
    /// How often held connections were cut.
    cuts: u64,
}

/// The server; it ends with the test's process.
#[derive(Clone)]
pub struct Server {
    shared: Arc<(Mutex<State>, Condvar)>,
    port: u16,
}

impl Server {
    /// Starts a server that gives `document`.
    pub fn start(document: &str, holds: bool) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            version: 1,
            document: document.to_owned(),
            holds,
            report_status: 200,
            ..State::default()
        };
        let server = Server {
            shared: Arc::new((Mutex::new(state), Condvar::new())),
            port,
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(&stream));
            }
        });
        server
    }

    /// The address of the metadata, with a secret in it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/metadata/node?secret=s3", self.port)
    }

    /// Gives another document from now on.
    pub fn change(&self, document: &str) {
        let mut state = self.shared.0.lock().unwrap();
        state.version += 1;
        state.document = document.to_owned();
        self.shared.1.notify_all();
    }

    /// Answers reports with `status` from now on.
    pub fn refuse_reports(&self, status: u16) {
        self.shared.0.lock().unwrap().report_status = status;
    }

    /// Waits until `found` gives something.
    #[track_caller]
    fn until<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut state = self.shared.0.lock().unwrap();
        loop {
            if let Some(found) = found(&state) {
                return found;
            }
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("no {what}; requests: {:?}", state.requests));
            state = self.shared.1.wait_timeout(state, left).unwrap().0;
        }
    }

    /// The report number `n`, from 0.
    #[track_caller]
    pub fn report(&self, n: usize) -> metadata::Value {
        let text = self.until("report", |state| state.reports.get(n).cloned());
        metadata::parse(&text).unwrap()
    }

    /// All signals that came, as name and body.
    pub fn signals(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().signals.clone()
    }

    /// Where signals go.
    pub fn signal_url(&self, name: &str) -> String {
        format!("http://metadata.test:{}/v1/signal/{name}", self.port)
    }

    /// The address of the metadata under a name that `/etc/hosts` must know.
    pub fn named_url(&self) -> String {
        self.url().replace("127.0.0.1", "metadata.test")
    }

    /// Closes the connections of all held requests without an answer, as a server does that is killed.
    pub fn cut(&self) {
        self.shared.0.lock().unwrap().cuts += 1;
        self.shared.1.notify_all();
    }

    /// Waits until a request is held.
    #[track_caller]
    pub fn until_held(&self) {
        self.until("held request", |state| (state.held > 0).then_some(()));
    }

    /// Waits for `n` requests and gives their first lines.
    #[track_caller]
    pub fn requests(&self, n: usize) -> Vec<String> {
        self.until("request", |state| {
            (state.requests.len() >= n).then(|| state.requests.clone())
        })
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((line, headers)) = read_head(&mut reader) {
            let header = |name: &str| {
                headers
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, value)| value.clone())
            };
            let length = header("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let (status, etag, body) =
                self.answer(&line, &header, &String::from_utf8(body).unwrap());
            if status == 0 {
                return;
            }
            let shown = if line.starts_with("HEAD") { "" } else { &body };
            let etag = etag
                .map(|etag| format!("ETag: \"{etag}\"\r\n"))
                .unwrap_or_default();
            let text = format!(
                "HTTP/1.1 {status} X\r\n{etag}Content-Length: {}\r\n\r\n{shown}",
                body.len()
            );
            if { stream }.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(
        &self,
        line: &str,
        header: &dyn Fn(&str) -> Option<String>,
        body: &str,
    ) -> (u16, Option<u64>, String) {
        let mut state = self.shared.0.lock().unwrap();
        state.requests.push(line.to_owned());
        self.shared.1.notify_all();
        if line.starts_with("POST /v1/metadata/node/report?secret=s3 ") {
            if state.report_status == 200 {
                state.reports.push(body.to_owned());
            }
            return (state.report_status, None, String::new());
        }
        if line.starts_with("POST /v1/signal/") {
            let name = line
                .trim_start_matches("POST /v1/signal/")
                .split(' ')
                .next()
                .unwrap_or_default();
            state.signals.push(format!("{name} {body}"));
            return (200, None, String::new());
        }
        if !line.contains("/v1/metadata/node?secret=s3 ") {
            return (404, None, String::new());
        }
        if !state.holds {
            return (200, None, state.document.clone());
        }
        let known = header("if-none-match");
        let same =
            |state: &State| known.as_deref() == Some(format!("\"{}\"", state.version).as_str());
        if same(&state) && header("prefer").is_some() {
            let cuts = state.cuts;
            state.held += 1;
            self.shared.1.notify_all();
            let waits = |state: &mut State| same(state) && state.cuts == cuts;
            state = self
                .shared
                .1
                .wait_timeout_while(state, PATIENCE, waits)
                .unwrap()
                .0;
            state.held -= 1;
            if state.cuts != cuts {
                return (0, None, String::new());
            }
        }
        if same(&state) {
            return (304, Some(state.version), String::new());
        }
        (200, Some(state.version), state.document.clone())
    }
}

type Head = (String, Vec<(String, String)>);

fn read_head(reader: &mut BufReader<&TcpStream>) -> Option<Head> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
    let headers = headers
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Some((lines[0].clone(), headers))
}
