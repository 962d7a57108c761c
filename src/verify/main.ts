#!/usr/bin/env node
/** The executable of the offline verifier. */
import { runVerify } from './command.ts';

process.exitCode = await runVerify(process.argv.slice(2));
