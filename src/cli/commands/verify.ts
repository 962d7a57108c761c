/** `remit verify`: the offline verifier, with its own arguments. Asks no gateway. */
import type { Command } from 'commander';
import { runVerify, VERIFY_HELP } from '../../verify/command.ts';

export function verifyCommand(program: Command): void {
  program
    .command('verify')
    .summary('Check an exported log or a receipt offline')
    .description('Check an exported log or a receipt offline.')
    .argument('[arguments...]', 'as below')
    .allowUnknownOption()
    .helpOption(false)
    .configureHelp({ formatHelp: () => VERIFY_HELP })
    .action(async (_arguments: string[], _options: object, command: Command) => {
      process.exitCode = await runVerify(command.args);
    });
}
