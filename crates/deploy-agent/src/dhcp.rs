//! Just enough of DHCP to get an address once: discover, offer, request, acknowledge.
//!
//! Each message is sent again until it is answered: the first ones of a machine are lost while its switch or the server
//! is still busy with the new link. The lease is not renewed: servers give hours, and the agent needs minutes.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

const MAGIC: [u8; 4] = [99, 130, 83, 99];
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACKNOWLEDGE: u8 = 5;
const REFUSE: u8 = 6;

/// The first pause before a message is sent again; it doubles. A server on the same wire answers within it.
const AGAIN: Duration = Duration::from_millis(100);

/// What the server gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Bits of the network.
    pub prefix: u8,
    /// The way to other networks.
    pub router: Option<Ipv4Addr>,
    /// Longest frame.
    pub mtu: Option<u16>,
    server: Ipv4Addr,
}

/// Asks on one interface, which must be up, until `limit`.
pub fn ask(interface: &str, mac: [u8; 6], limit: Duration) -> io::Result<Lease> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68))?;
    setsockopt(&socket, sockopt::BindToDevice, &OsString::from(interface))?;
    socket.set_broadcast(true)?;
    let end = Instant::now() + limit;
    let call: u32 = rand::random();
    let servers = (Ipv4Addr::BROADCAST, 67);
    let answer = |kind, wanted, offer: Option<&Lease>| {
        let send = || {
            let sent = socket.send_to(&message(call, mac, kind, offer), servers);
            sent.map(drop)
        };
        let heard = |bytes: &[u8]| match parse(bytes, call, mac) {
            Some((kind, lease)) if kind == wanted => Some(Ok(lease)),
            Some((REFUSE, _)) => Some(Err(io::Error::other("the server refused"))),
            Some(_) | None => None,
        };
        exchange(&socket, send, heard, end)
    };
    let offer = answer(DISCOVER, OFFER, None)?;
    answer(REQUEST, ACKNOWLEDGE, Some(&offer))
}

/// Sends, and sends again with growing pauses, until something is heard that is an answer.
fn exchange(
    socket: &UdpSocket,
    send: impl Fn() -> io::Result<()>,
    heard: impl Fn(&[u8]) -> Option<io::Result<Lease>>,
    end: Instant,
) -> io::Result<Lease> {
    let mut buffer = [0; 1500];
    let mut pause = AGAIN;
    loop {
        send()?;
        let again = (Instant::now() + pause).min(end);
        pause *= 2;
        loop {
            let left = again.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv_from(&mut buffer) {
                Ok((count, _)) => {
                    if let Some(answer) = heard(&buffer[..count]) {
                        return answer;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if again == end {
            let words = "no server answered";
            return Err(io::Error::new(io::ErrorKind::TimedOut, words));
        }
    }
}

fn message(call: u32, mac: [u8; 6], kind: u8, offer: Option<&Lease>) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    // A request over Ethernet, with answers by broadcast: there is no address to send them to yet.
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&call.to_be_bytes());
    bytes[10] = 0x80;
    bytes[28..34].copy_from_slice(&mac);
    bytes.extend(MAGIC);
    bytes.extend([53, 1, kind]);
    if let Some(offer) = offer {
        bytes.extend([50, 4]);
        bytes.extend(offer.address.octets());
        bytes.extend([54, 4]);
        bytes.extend(offer.server.octets());
    }
    // Mask, router, MTU.
    bytes.extend([55, 3, 1, 3, 26, 255]);
    // Relays of old drop what is shorter.
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// Kind and content of an answer to this call; nothing for what is not meant for us.
fn parse(bytes: &[u8], call: u32, mac: [u8; 6]) -> Option<(u8, Lease)> {
    let ours = bytes.get(..240)?;
    if ours[0] != 2
        || ours[4..8] != call.to_be_bytes()
        || ours[28..34] != mac
        || ours[236..240] != MAGIC
    {
        return None;
    }
    let four = |bytes: &[u8]| bytes.first_chunk::<4>().map(|four| Ipv4Addr::from(*four));
    let mut lease = Lease {
        address: four(&ours[16..20])?,
        prefix: 0,
        router: None,
        mtu: None,
        server: four(&ours[20..24])?,
    };
    let mut kind = None;
    let mut options = &bytes[240..];
    loop {
        match options {
            [] | [255, ..] => break,
            [0, rest @ ..] => options = rest,
            [code, length, rest @ ..] => {
                let value = rest.get(..usize::from(*length))?;
                options = &rest[value.len()..];
                match code {
                    53 => kind = value.first().copied(),
                    1 => {
                        lease.prefix = u8::try_from(u32::from(four(value)?).leading_ones()).ok()?
                    }
                    3 => lease.router = four(value),
                    26 => lease.mtu = value.first_chunk::<2>().map(|two| u16::from_be_bytes(*two)),
                    54 => lease.server = four(value)?,
                    _ => {}
                }
            }
            [_] => return None,
        }
    }
    Some((kind?, lease))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

    fn answer(kind: u8) -> Vec<u8> {
        let mut bytes = message(7, MAC, kind, None);
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&[192, 0, 2, 31]);
        bytes.truncate(240);
        bytes.extend([
            53, 1, kind, 1, 4, 255, 255, 255, 0, 0, 3, 4, 192, 0, 2, 1, 54, 4, 192, 0, 2, 2, 26, 2,
            5, 220, 255,
        ]);
        bytes
    }

    #[test]
    fn answers_to_this_call_are_read() {
        let (kind, lease) = parse(&answer(OFFER), 7, MAC).expect("an answer");
        assert_eq!(kind, OFFER);
        assert_eq!(
            (lease.address, lease.prefix),
            (Ipv4Addr::new(192, 0, 2, 31), 24)
        );
        assert_eq!(
            (lease.router, lease.mtu),
            (Some(Ipv4Addr::new(192, 0, 2, 1)), Some(1500))
        );
        assert_eq!(lease.server, Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(parse(&answer(OFFER), 8, MAC), None);
        assert_eq!(parse(&answer(OFFER), 7, [1; 6]), None);
        // Cut off anywhere, it is no answer or has less in it; it never breaks the reader.
        for length in 0..answer(OFFER).len() {
            let _ = parse(&answer(OFFER)[..length], 7, MAC);
        }
    }

    #[test]
    fn a_message_that_is_lost_is_sent_again() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let (to, back) = (server.local_addr(), socket.local_addr());
        let (to, back) = (to.expect("its address"), back.expect("its address"));
        let answers = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            for _ in 0..2 {
                server.recv_from(&mut buffer).expect("a message");
            }
            server.send_to(&answer(OFFER), back).expect("an answer");
        });
        let send = || socket.send_to(b"?", to).map(drop);
        let heard = |bytes: &[u8]| parse(bytes, 7, MAC).map(|(_, lease)| Ok(lease));
        let end = Instant::now() + Duration::from_secs(600);
        let lease = exchange(&socket, send, heard, end).expect("an answer");
        assert_eq!(lease.address, Ipv4Addr::new(192, 0, 2, 31));
        answers.join().expect("the server ends");
    }

    #[test]
    fn a_request_names_what_was_offered() {
        let (_, lease) = parse(&answer(OFFER), 7, MAC).expect("an answer");
        let bytes = message(7, MAC, REQUEST, Some(&lease));
        assert!(bytes.windows(6).any(|part| part == [50, 4, 192, 0, 2, 31]));
        assert!(bytes.windows(6).any(|part| part == [54, 4, 192, 0, 2, 2]));
        assert_eq!(bytes.len(), 300);
    }
}
