/// How many requests a connection may have at a time. With HTTP/1.1 it has one.
const MAX_REQUESTS: usize = 200;

/// Whose turn it is with each request of a connection. Times are milliseconds since some beginning.
#[derive(Debug)]
pub(super) struct Turns {
    requests: Vec<Turn>,
    /// Since when there is no request; it is the client's turn to send one.
    idle_since: u64,
}

/// One of the requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There is no such request.
    Nobody,
    Server,
    ClientSince(u64),
}

impl Turns {
    pub(super) const fn new(now: u64) -> Self {
        Self { requests: Vec::new(), idle_since: now }
    }

    /// A new request, with which it is the server's turn; `None` when there are too many.
    pub(super) fn begin(&mut self) -> Option<Request> {
        let free = self.requests.iter().position(|turn| *turn == Turn::Nobody);
        if free.is_none() && self.requests.len() == MAX_REQUESTS {
            return None;
        }
        let request = free.unwrap_or_else(|| {
            self.requests.push(Turn::Nobody);
            self.requests.len() - 1
        });
        self.set(Request(request), Turn::Server);
        Some(Request(request))
    }

    pub(super) fn give_to_client(&mut self, request: Request, now: u64) {
        self.set(request, Turn::ClientSince(now));
    }

    pub(super) fn give_to_server(&mut self, request: Request) {
        self.set(request, Turn::Server);
    }

    pub(super) fn end(&mut self, request: Request, now: u64) {
        self.set(request, Turn::Nobody);
        self.idle_since = now;
    }

    /// Since when it is the client's turn with the request that it has let wait longest, or to send one; `None` while it is the
    /// server's with all.
    pub(super) fn clients_turn_since(&self) -> Option<u64> {
        let mut is_idle = true;
        let mut longest = None;
        for turn in &self.requests {
            match turn {
                Turn::Nobody => {}
                Turn::Server => is_idle = false,
                Turn::ClientSince(since) => {
                    is_idle = false;
                    longest = Some(longest.unwrap_or(*since).min(*since));
                }
            }
        }
        if is_idle { Some(self.idle_since) } else { longest }
    }

    fn set(&mut self, request: Request, turn: Turn) {
        if let Some(slot) = self.requests.get_mut(request.0) {
            *slot = turn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_waits_for_its_client() {
        let mut turns = Turns::new(7);
        assert_eq!(turns.clients_turn_since(), Some(7));
        let request = turns.begin().unwrap();
        assert_eq!(turns.clients_turn_since(), None);
        turns.end(request, 9);
        assert_eq!(turns.clients_turn_since(), Some(9));
    }

    #[test]
    fn one_request_that_the_server_works_on_does_not_hide_one_that_is_not_read() {
        let mut turns = Turns::new(0);
        let (first, second, third) = (turns.begin().unwrap(), turns.begin().unwrap(), turns.begin().unwrap());
        turns.give_to_client(second, 5);
        turns.give_to_client(third, 4);
        assert_eq!(turns.clients_turn_since(), Some(4));
        turns.give_to_server(third);
        assert_eq!(turns.clients_turn_since(), Some(5));
        turns.end(second, 6);
        assert_eq!(turns.clients_turn_since(), None, "an end is no beginning of idleness while others go on");
        turns.end(first, 8);
        turns.end(third, 9);
        assert_eq!(turns.clients_turn_since(), Some(9));
    }

    #[test]
    fn a_connection_has_so_many_requests_and_no_more() {
        let mut turns = Turns::new(0);
        let all: Vec<_> = (0..MAX_REQUESTS).map(|_| turns.begin().unwrap()).collect();
        assert!(turns.begin().is_none());
        turns.end(all[3], 1);
        assert!(turns.begin().is_some());
    }
}
