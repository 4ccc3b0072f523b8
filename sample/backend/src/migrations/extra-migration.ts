import { Column, type MigrationInterface, type QueryRunner } from "typeorm";

export type MigrationClass = new () => MigrationInterface;

const FIRST_EXTRA = 1_800_000_000_000;

const columnName = (identifier: string): string => `extra_${identifier}`;

function timestamp(identifier: string): number {
  return FIRST_EXTRA + parseInt(identifier, 36);
}

function checked(identifier: string): string {
  if (!/^[a-z0-9]{1,6}$/.test(identifier)) {
    throw new Error(`EXTRA_MIGRATION "${identifier}": use 1 to 6 lower-case letters or digits, for example v2`);
  }
  return identifier;
}

/** An expand-only migration: it adds one nullable column that older images never mention. */
export function extraMigration(identifier: string): MigrationClass {
  const column = columnName(checked(identifier));
  return class implements MigrationInterface {
    readonly name = `AddExtra${identifier}${timestamp(identifier)}`;

    async up(runner: QueryRunner): Promise<void> {
      await runner.query(`ALTER TABLE "vehicles" ADD "${column}" character varying`);
    }

    async down(runner: QueryRunner): Promise<void> {
      await runner.query(`ALTER TABLE "vehicles" DROP COLUMN "${column}"`);
    }
  };
}

export function addExtraColumns(entity: new () => object, identifiers: string[]): void {
  for (const identifier of identifiers) {
    Column({ type: "varchar", nullable: true })(entity.prototype as object, columnName(checked(identifier)));
  }
}
