/**
 * What goes wrong below a query, in words both engines share, and how the ports say it.
 * The message of an engine is for the operator; nothing of it reaches a caller of the gateway.
 */
import type { LedgerFaultCode } from '../audit/ledger.ts';
import { LedgerFault } from '../audit/ledger.ts';
import { Fault } from '../lib/fault.ts';
import type { ExchangeFaultCode } from './exchange.ts';
import { ExchangeFault } from './exchange.ts';
import type { StoreFaultCode } from './state.ts';
import { StoreFault } from './state.ts';

export type EngineProblem =
  | 'locked' // another process owns the file
  | 'corrupt'
  | 'newer' // the schema was written by a newer Remit
  | 'disk' // the disk said no: what was being written may or may not be there
  | 'unavailable'; // not reachable now, or refused for another reason

export class EngineFault extends Fault<EngineProblem> {}

const STORE_CODE: Record<EngineProblem, StoreFaultCode> = {
  locked: 'store_locked',
  corrupt: 'store_corrupt',
  newer: 'store_newer',
  disk: 'store_unavailable',
  unavailable: 'store_unavailable',
};
const LEDGER_CODE: Record<EngineProblem, LedgerFaultCode> = {
  locked: 'ledger_locked',
  corrupt: 'ledger_corrupt',
  newer: 'ledger_newer',
  disk: 'ledger_failed',
  unavailable: 'ledger_unavailable',
};
const EXCHANGE_CODE: Record<EngineProblem, ExchangeFaultCode> = {
  locked: 'exchange_locked',
  corrupt: 'exchange_unavailable',
  newer: 'exchange_unavailable',
  disk: 'exchange_unavailable',
  unavailable: 'exchange_unavailable',
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function toStoreFault(error: unknown): StoreFault {
  if (error instanceof StoreFault) return error;
  const code = error instanceof EngineFault ? STORE_CODE[error.code] : 'store_unavailable';
  return new StoreFault(code, messageOf(error), { cause: error });
}

export function toLedgerFault(error: unknown): LedgerFault {
  if (error instanceof LedgerFault) return error;
  const code = error instanceof EngineFault ? LEDGER_CODE[error.code] : 'ledger_unavailable';
  return new LedgerFault(code, messageOf(error), { cause: error });
}

export function toExchangeFault(error: unknown): ExchangeFault {
  if (error instanceof ExchangeFault) return error;
  if (!(error instanceof EngineFault))
    return new ExchangeFault('exchange_unavailable', messageOf(error), { cause: error });
  // Unlike the neighbours it may be lost: the operator should know that before they look for a backup.
  const lost = error.code === 'corrupt' || error.code === 'newer';
  const remedy = lost ? '. The exchange holds conversations only; with the gateway stopped it may be deleted' : '';
  return new ExchangeFault(EXCHANGE_CODE[error.code], error.message + remedy, { cause: error });
}
