/**
 * How much an exchange may hold. The size is measured now and then and estimated in between by what was appended on this node; above the
 * limit what would make it grow is refused, so that a disk is never filled by conversations. Not promised: the exact byte. What is under
 * way when the limit is reached still gets in, other nodes are seen with the next measurement, and `replaces` is never refused.
 */
import { ExchangeFault } from './exchange.ts';

export const DEFAULT_MAX_BYTES = 4 * 1024 ** 3;
/** Opens again below this part of the limit, so that it does not flicker. */
const REOPENS_AT = 0.95;

export interface ExchangeRoom {
  /** @throws ExchangeFault `exchange_unavailable` when it is full. */
  check(): void;
  /** Counts `bytes` from now on, whatever becomes of the append. */
  count<T>(bytes: number, append: () => Promise<T>): Promise<T>;
  measure(): Promise<void>;
}

/** @param size Bytes in use now. `atMost`: below it a rough figure is enough. */
export function exchangeRoom(maxBytes: number, size: (atMost: number) => Promise<number>): ExchangeRoom {
  const reopensAt = maxBytes * REOPENS_AT;
  let measured = 0;
  /** Since the last measurement began. */
  let appended = 0;
  /** On its way to the database: no measurement that runs now has to have seen it. */
  let underWay = 0;
  let full = false;
  const total = (): number => measured + appended + underWay;

  return {
    check() {
      full ||= total() > maxBytes;
      if (!full) return;
      const held = `the exchange is full: about ${Math.round(total())} of ${maxBytes} bytes`;
      const remedy =
        'It takes new items again when enough has expired (finished tasks within hours). It holds conversations only: with every gateway stopped it may be deleted';
      throw new ExchangeFault('exchange_unavailable', `${held}. ${remedy}`);
    },
    async count(bytes, append) {
      underWay += bytes;
      try {
        return await append();
      } finally {
        underWay -= bytes;
        appended += bytes;
      }
    },
    async measure() {
      const before = appended;
      measured = await size(reopensAt);
      appended -= before;
      full = total() > maxBytes || (full && total() >= reopensAt);
    },
  };
}
