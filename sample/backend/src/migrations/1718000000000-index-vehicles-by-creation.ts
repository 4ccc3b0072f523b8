import type { MigrationInterface, QueryRunner } from "typeorm";

export class IndexVehiclesByCreation1718000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE INDEX "IDX_vehicles_created_at" ON "vehicles" ("created_at")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`DROP INDEX "IDX_vehicles_created_at"`);
  }
}
