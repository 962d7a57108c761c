/** Keeps the events of one session in memory, in order, so that a client that lost a stream can read on. */
import type { EventStore } from '@modelcontextprotocol/server';

type Message = Parameters<EventStore['storeEvent']>[1];

export function eventStore(): EventStore {
  const events: Array<{ readonly stream: string; readonly message: Message }> = [];
  return {
    // Ids are places in the list: they grow, and they name the stream by pointing at one of its events.
    storeEvent: (stream, message) => Promise.resolve(String(events.push({ stream, message }) - 1)),
    getStreamIdForEventId: (id) => Promise.resolve(events[Number(id)]?.stream),
    async replayEventsAfter(last, { send }) {
      const stream = events[Number(last)]?.stream;
      if (stream === undefined) throw new Error(`there is no event ${last}`);
      for (const [place, event] of events.entries()) {
        const isPriming = Object.keys(event.message).length === 0;
        if (place > Number(last) && event.stream === stream && !isPriming) await send(String(place), event.message);
      }
      return stream;
    },
  };
}
